//! What Flex is given: a plugin that shows handoffs, or a frame of the panel without one.

use crate::cli::Failure;
use crate::cli::recipe::At;
use crate::cli::recipe::File;
use crate::cli::recipe::file;
use crate::cli::say;

const PLUGIN: [File; 21] = [
    file!("flex-plugin/README.md" as "README.md"),
    file!("flex-plugin/package.json" as "package.json"),
    file!("flex-plugin/tsconfig.json" as "tsconfig.json"),
    file!("flex-plugin/public/appConfig.js" as "public/appConfig.js"),
    file!("flex-plugin/src/index.ts" as "src/index.ts"),
    file!("flex-plugin/src/config.ts" as "src/config.ts"),
    file!("flex-plugin/src/HandoffPlugin.tsx" as "src/HandoffPlugin.tsx"),
    file!("flex-plugin/src/baton.ts" as "src/baton.ts"),
    file!("flex-plugin/src/explain.ts" as "src/explain.ts"),
    file!("flex-plugin/src/follow.ts" as "src/follow.ts"),
    file!("flex-plugin/src/receipts.ts" as "src/receipts.ts"),
    file!("flex-plugin/src/task.ts" as "src/task.ts"),
    file!("flex-plugin/src/wait.ts" as "src/wait.ts"),
    file!("flex-plugin/src/components/CopyButton.tsx" as "src/components/CopyButton.tsx"),
    file!("flex-plugin/src/components/Fields.tsx" as "src/components/Fields.tsx"),
    file!("flex-plugin/src/components/Handoff.tsx" as "src/components/Handoff.tsx"),
    file!("flex-plugin/src/components/HandoffTab.tsx" as "src/components/HandoffTab.tsx"),
    file!("flex-plugin/src/components/Notice.tsx" as "src/components/Notice.tsx"),
    file!("flex-plugin/src/components/Text.tsx" as "src/components/Text.tsx"),
    file!("flex-plugin/src/components/Trouble.tsx" as "src/components/Trouble.tsx"),
    file!("flex-plugin/src/components/useSeen.ts" as "src/components/useSeen.ts"),
];
const PANEL: File = file!("flex-panel.js");

/// Writes the plugin's project.
pub(super) fn plugin(at: &At) -> Result<(), Failure> {
    at.place.is_free(&PLUGIN)?;
    let url = at.url()?;
    for file in &PLUGIN {
        at.place.write(file, &[("BATON_PUBLIC_URL_HERE", url.as_str())])?;
    }
    let dir = at.place.dir.display();
    say(format!(
        "Wrote a Flex UI 2.x plugin to {dir}\n\n1. cd {dir} && npm install\n2. twilio flex:plugins:start, with http://localhost:3000 among BATON_CORS_ORIGINS; then twilio flex:plugins:deploy\n3. Take a call: its task has a tab Handoff. README.md there says what to do where it has not"
    ));
    Ok(())
}

/// Writes what shows the panel in Flex's CRM container.
pub(super) fn panel(at: &At) -> Result<(), Failure> {
    let url = at.url()?;
    let file = at.place.write(&PANEL, &[("BATON_PUBLIC_URL_HERE", url.as_str())])?;
    say(format!(
        "Wrote {file}\n\n1. Call its showPanel(flex, manager) from your plugin's init, or where you start a Flex of your own\n2. A Flex of your own stands on another origin: name it in BATON_FRAME_ANCESTORS\n3. Take a call: the panel stands beside its task"
    ));
    Ok(())
}
