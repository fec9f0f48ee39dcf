//! A window of the browser as a person uses it: what is clicked and typed, and what can be read.

use super::Page;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Long enough for anything that works, where several browsers share two processors.
const PATIENCE: Duration = Duration::from_secs(30);

/// One window. Whatever is done to it makes it the current one.
pub struct Window<'a> {
    page: &'a Page,
    handle: String,
}

impl<'a> Window<'a> {
    pub(super) const fn new(page: &'a Page, handle: String) -> Self {
        Self { page, handle }
    }

    fn entered(&self) -> &Page {
        self.page.driver().enter_window(&self.handle);
        self.page
    }

    pub fn go(&self, url: &str) {
        self.entered().driver().go(url);
    }

    pub fn reload(&self) {
        self.entered().driver().reload();
    }

    pub fn click(&self, selector: &str) {
        self.entered().driver().click(selector);
    }

    /// Types into an element; see [`super::Driver::write`].
    pub fn write(&self, selector: &str, text: &str) {
        self.entered().driver().write(selector, text);
    }

    /// What an element shows as text.
    pub fn text(&self, selector: &str) -> String {
        let text = self.evaluate("document.querySelector(arguments[0]).innerText", json!([selector]));
        text.as_str().unwrap().to_owned()
    }

    /// See [`Page::evaluate`].
    pub fn evaluate(&self, expression: &str, args: Value) -> Value {
        self.entered().evaluate(expression, args)
    }

    /// Waits until an expression is true in the page.
    pub fn until(&self, expression: &str, args: &Value) {
        let begin = Instant::now();
        while self.evaluate(expression, args.clone()) != true {
            if begin.elapsed() > PATIENCE {
                let (shown, hidden) = (self.text("body"), self.hidden());
                panic!("waited for {expression} with {args}; the page shows: {shown}\nand hides: {hidden}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the elements that are hidden would show.
    fn hidden(&self) -> String {
        let texts =
            "[...document.querySelectorAll('[hidden]')].map((it) => it.textContent.replace(/\\s+/g, ' ').trim())
            .filter(Boolean)";
        self.evaluate(texts, json!([])).to_string()
    }

    /// Waits until an element has this text in it.
    pub fn until_text(&self, selector: &str, text: &str) {
        self.until(
            "[...document.querySelectorAll(arguments[0])].some((it) => it.innerText.includes(arguments[1]))",
            &json!([selector, text]),
        );
    }
}
