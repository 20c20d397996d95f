//! `baton recipe`: what is written out is whole, with the user's own URL and ids, and nothing is written
//! over.

use std::path::Path;
use std::path::PathBuf;

use crate::baton;
use crate::run;

#[test]
fn a_function_is_written_once_with_the_users_own_url() {
    let folder = tempfile::tempdir().unwrap();
    let write = |more: &[&str]| {
        let arguments = [&["recipe", "function", folder.path().to_str().unwrap()], more].concat();
        run(baton(&arguments))
    };
    let (code, out, err) = write(&["--url", "https://voice.example.com/"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("BATON_API_KEY"), "{out}");
    let text = std::fs::read_to_string(folder.path().join("handoff.protected.js")).unwrap();
    assert!(text.contains("'https://voice.example.com'") && !text.contains("your-baton-host"));
    let (code, _, err) = write(&[]);
    assert_eq!(code, 1);
    assert!(err.contains("--force"), "{err}");
    assert_eq!(write(&["--force"]).0, 0);
    assert_eq!(write(&["--url", "voice.example.com", "--force"]).0, 64);
}

#[test]
fn every_recipe_is_written_whole_and_nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let url = ["--url", "https://voice.example.com"];
    let connector = ["--connector", "conn_4kT9wQz7LmB2xVh8RcYp"];
    let workflow = ["--workflow", "WW0123456789abcdef0123456789abcdef"];
    let rest =
        ["--channel", "TC0123456789abcdef0123456789abcdef", "--fallback-number", "+441632960000"];
    for (name, files, more) in [
        ("twiml", 1, [&url[..], &connector].concat()),
        ("fallback-bin", 1, workflow.to_vec()),
        ("studio-flow", 1, [&url[..], &connector, &workflow, &rest].concat()),
        ("agent", 4, [&url[..], &connector].concat()),
    ] {
        let write = |more: &[&str]| run(baton(&[&["recipe", name, dir], more].concat()));
        let before = std::fs::read_dir(folder.path()).unwrap().count();
        let (code, out, err) = write(&more);
        assert_eq!((code, err.as_str()), (0, ""), "{name}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before + files, "{out}");
        let (code, _, err) = write(&more);
        assert!(code == 1 && err.contains("--force"), "{name}: {err}");
        assert_eq!(write(&[&more[..], &["--force"]].concat()).0, 0, "{name}");
        if name == "agent" {
            // One that is there keeps all of them from being written.
            std::fs::remove_file(folder.path().join("agent-polyai.py")).unwrap();
            assert_eq!(write(&more).0, 1);
            assert!(!folder.path().join("agent-polyai.py").exists());
        }
        if name != "fallback-bin" {
            let unlike = more.iter().map(|text| text.replace("conn_", "conn-")).collect::<Vec<_>>();
            let unlike: Vec<_> = unlike.iter().map(String::as_str).collect();
            assert_ne!(write(&unlike).0, 0, "{name}");
        }
    }
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("_HERE") && !text.contains("your-baton-host"), "{text}");
    }
}

/// Every file under a folder, by its path there.
fn files(folder: &Path, under: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder.join(under)).unwrap() {
        let entry = entry.unwrap();
        let path = under.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(folder, &path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

#[test]
fn the_flex_plugin_is_written_file_by_file_and_asks_the_users_own_server() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("plugin");
    let url = ["--url", "https://voice.example.com"];
    let write = |more: &[&str]| {
        run(baton(&[&["recipe", "flex-plugin", dir.to_str().unwrap()], more].concat()))
    };
    let (code, out, err) = write(&url);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("BATON_CORS_ORIGINS"), "{out}");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/recipes/flex-plugin");
    let wanted = files(&source, Path::new(""));
    assert_eq!(files(&dir, Path::new("")), wanted);
    let asking = |path: &&PathBuf| {
        let text = std::fs::read_to_string(dir.join(path)).unwrap();
        assert!(!text.contains("_HERE"), "{}", path.display());
        text.contains("https://voice.example.com")
    };
    assert_eq!(wanted.iter().filter(asking).collect::<Vec<_>>(), [Path::new("src/config.ts")]);
    std::fs::remove_file(dir.join("package.json")).unwrap();
    assert_eq!(write(&url).0, 1);
    assert!(!dir.join("package.json").exists());
    let panel = ["recipe", "flex-panel", folder.path().to_str().unwrap()];
    assert_eq!(run(baton(&[&panel[..], &url].concat())).0, 0);
    let text = std::fs::read_to_string(folder.path().join("flex-panel.js")).unwrap();
    assert!(text.contains("https://voice.example.com") && !text.contains("_HERE"));
}
