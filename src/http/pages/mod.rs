//! The pages that people see: the panel of an agent, the console of an operator. Each is one document
//! that brings all it needs and asks this server alone for the rest; its policy names its one style and
//! its one script by their hashes, so that nothing else runs, whatever a handoff holds.
//!
//! The documents hold no data: they are the same for everybody, so anybody may fetch them.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::web::Data;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::http::cors::FLEX_ORIGIN;

const BASE: &str = include_str!("base.css");
const SCRIPTS: &str = include_str!("base.js");
// In this order, each as one module.
const PANEL: [&str; 7] = [
    SCRIPTS,
    include_str!("panel-base.js"),
    include_str!("panel-door.js"),
    include_str!("panel-fields.js"),
    include_str!("panel-show.js"),
    include_str!("panel-receipts.js"),
    include_str!("panel-follow.js"),
];
const CONSOLE: [&str; 9] = [
    SCRIPTS,
    include_str!("console-base.js"),
    include_str!("console-calls.js"),
    include_str!("console-lane.js"),
    include_str!("console-story.js"),
    include_str!("console-handoff.js"),
    include_str!("console-hour.js"),
    include_str!("console-link.js"),
    include_str!("console-start.js"),
];
const STYLE: &str = "/*STYLE*/";
const SCRIPT: &str = "/*SCRIPT*/";
const PARENTS: &str = "PARENTS_HERE";
// What a page may not do to whoever looks at it.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-write=(self)";

/// The pages, made once.
#[derive(Debug)]
pub struct Pages {
    panel: Page,
    console: Page,
}

#[derive(Debug)]
struct Page {
    document: Bytes,
    policy: String,
}

impl Pages {
    /// Pages of which the panel may stand in frames of Flex and of `parents`.
    pub fn new(parents: &[String]) -> Self {
        let parents: Vec<_> =
            std::iter::once(FLEX_ORIGIN).chain(parents.iter().map(String::as_str)).collect();
        let parents = parents.join(" ");
        let panel = include_str!("panel.html").replace(PARENTS, &parents);
        let panel = Page::new(&panel, include_str!("panel.css"), &PANEL, &parents);
        let console = include_str!("console.html");
        let console = Page::new(console, include_str!("console.css"), &CONSOLE, "'none'");
        Self { panel, console }
    }
}

impl Page {
    fn new(document: &str, style: &str, scripts: &[&str], parents: &str) -> Self {
        let (style, script) = ([BASE, style].concat(), scripts.concat());
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors {parents}",
            hash(&script),
            hash(&style)
        );
        let document = document.replace(STYLE, &style).replace(SCRIPT, &script);
        Self { document: document.into(), policy }
    }

    fn answer(&self) -> HttpResponse {
        HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, self.policy.as_str()))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header(("permissions-policy", PERMISSIONS))
            .body(self.document.clone())
    }
}

/// As a policy names an inline style or script.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

/// `GET /panel`: what an agent sees of a handoff.
pub(super) async fn panel(pages: Data<Pages>) -> HttpResponse {
    pages.panel.answer()
}

/// `GET /console`: what an operator sees of calls.
pub(super) async fn console(pages: Data<Pages>) -> HttpResponse {
    pages.console.answer()
}
