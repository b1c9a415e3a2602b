//! What the documentation of the public items must hold: a running example each, and what
//! the promises of `# Switching` bring with them.
//!
//! `pub` means reachable here: the compiler's `unreachable_pub` sees to that.

use super::{File, expect_none, files};

/// Where the public functions and types are held against the template.
const PLACES: &[&str] = &[
    "src/fs",
    "src/net",
    "src/process",
    "src/runtime",
    "src/server",
    "src/sync",
    "src/testkit",
];

/// How the doc of a function begins that is asked for what it names, and does nothing.
const ASKS: &[&str] = &[
    "How ",
    "Its ",
    "Tells whether ",
    "The ",
    "Those ",
    "What ",
    "Whether ",
    "Why ",
];

/// Public in private modules: bounds that no user can name.
const NAMELESS: &[&str] = &["Store"];

/// A public function or type, with what stands before its body.
struct Item {
    line: usize,
    kind: &'static str,
    name: String,
    doc: String,
    attributes: String,
    /// From the name to the body: arguments, and what it gives.
    signature: String,
}

impl Item {
    /// What the function gives; empty for a type.
    fn gives(&self) -> &str {
        self.signature.split_once("->").map_or("", |(_, to)| to)
    }

    fn is_function(&self) -> bool {
        self.kind == "fn"
    }

    fn switches(&self) -> bool {
        self.doc.contains("May switch")
    }

    /// The programs in the doc that are compiled.
    fn programs(&self) -> String {
        programs(&self.doc)
    }

    fn has_example(&self) -> bool {
        let titled = !self.is_function() || self.doc.lines().any(|l| l == "# Examples");
        titled && !self.programs().is_empty()
    }

    /// `put_timeout` and `try_put` are `put` with another patience.
    fn base_name(&self) -> Option<&str> {
        let name = self.name.as_str();
        name.strip_suffix("_timeout")
            .or_else(|| name.strip_suffix("_deadline"))
            .or_else(|| name.strip_prefix("try_"))
    }

    /// Takes nothing but `&self`, does nothing, and says in a line what it gives.
    fn only_answers(&self) -> bool {
        let asks = ASKS.iter().any(|start| self.doc.starts_with(start));
        asks && self.signature.contains("(&self) ->") && !self.switches()
    }

    /// A constructor or a setter that the example of its type shows.
    fn is_shown_in(&self, programs: &str) -> bool {
        let called = |dot: &&str| programs.contains(&format!("{dot}{}(", self.name));
        words(self.gives()).contains(&"Self") && [".", "::"].iter().any(called)
    }

    /// Says by a link whose example is its own too.
    fn is_like_another(&self) -> bool {
        self.doc.starts_with("Like [`")
    }
}

/// The code blocks of a doc that are compiled, without their fences.
fn programs(doc: &str) -> String {
    let mut inside = None;
    let mut text = String::new();
    for line in doc.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(_), Some(_)) => inside = None,
            (Some(info), None) => {
                inside = Some(!["ignore", "text"].iter().any(|no| info.contains(no)));
            }
            (None, Some(true)) => text.extend([line, "\n"]),
            (None, _) => {}
        }
    }
    text
}

/// How long a file is, without the code blocks in its doc comments.
pub(crate) fn lines_without_examples(text: &str) -> usize {
    let mut inside = false;
    let counts = |line: &&str| {
        let is_fence = line.trim_start().starts_with("/// ```");
        inside ^= is_fence;
        !inside && !is_fence
    };
    text.lines().filter(counts).count()
}

/// The word before the name of a public item on this line, and the rest from the name on.
fn opening(line: &str) -> Option<(&'static str, &str)> {
    let mut rest = line.trim_start().strip_prefix("pub ")?;
    for word in ["const ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let kinds = [
        ("fn", "fn "),
        ("type", "struct "),
        ("type", "enum "),
        ("type", "trait "),
    ];
    kinds
        .iter()
        .find_map(|(kind, word)| Some((*kind, rest.strip_prefix(word)?)))
}

/// Every public function and type of a file.
fn items(text: &str) -> Vec<Item> {
    let lines: Vec<_> = text.lines().collect();
    let at = |(n, line): (usize, &&str)| {
        let (kind, rest) = opening(line)?;
        let name = rest
            .split(|c: char| c != '_' && !c.is_alphanumeric())
            .next()?;
        let (doc, attributes) = before(&lines[..n]);
        let until_body = lines[n..].iter().map(|l| l.trim());
        let mut signature = String::new();
        for part in until_body {
            signature.extend([part, " "]);
            if part.ends_with(['{', ';', '}']) {
                break;
            }
        }
        let signature = signature.replace("&self, )", "&self)");
        let hidden = attributes.contains("doc(hidden)");
        let line = n + 1;
        (!hidden).then(|| Item {
            line,
            kind,
            name: name.to_owned(),
            doc,
            attributes,
            signature,
        })
    };
    lines.iter().enumerate().filter_map(at).collect()
}

/// The doc comment and the attributes that end these lines.
fn before(lines: &[&str]) -> (String, String) {
    let (mut doc, mut attributes) = (Vec::new(), Vec::new());
    let mut in_attribute = false;
    for line in lines.iter().rev().map(|l| l.trim()) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.strip_prefix(' ').unwrap_or(text));
        } else if line.starts_with("#[") {
            in_attribute = false;
            attributes.push(line);
        } else if in_attribute || line == ")]" {
            in_attribute = true;
            attributes.push(line);
        } else if !line.starts_with("//") || line.starts_with("//!") {
            break;
        }
    }
    doc.reverse();
    attributes.reverse();
    (doc.join("\n"), attributes.join("\n"))
}

fn function_complaints(file: &File) -> Vec<String> {
    let items = items(&file.text);
    let shown: String = items
        .iter()
        .filter(|item| !item.is_function())
        .map(Item::programs)
        .collect();
    let has_base = |item: &Item| {
        let of = |base: &str| {
            let names = [base.to_owned(), format!("{base}_timeout")];
            items
                .iter()
                .any(|i| names.contains(&i.name) && i.has_example())
        };
        item.base_name().is_some_and(of)
    };
    let mut complaints = Vec::new();
    for item in items.iter().filter(|item| item.is_function()) {
        let mut complain = |lacks: &str| {
            let what = format!("{} lacks {lacks}", item.name);
            complaints.push(file.complain(item.line, what));
        };
        let needs_none = item.only_answers()
            || item.is_shown_in(&shown)
            || item.is_like_another()
            || has_base(item);
        if !item.has_example() && !needs_none {
            complain("an example");
        }
        if item.switches() && !item.doc.contains("# Errors") {
            complain("# Errors");
        }
        if item.switches() && !item.attributes.contains("#[track_caller]") {
            complain("#[track_caller]");
        }
    }
    complaints
}

/// A type is shown by an example that names it, or by that of a function which gives or
/// takes one.
fn type_complaints(files: &[File]) -> Vec<String> {
    let items: Vec<_> = files
        .iter()
        .flat_map(|file| items(&file.text).into_iter().map(move |item| (file, item)))
        .filter(|(_, item)| !NAMELESS.contains(&item.name.as_str()))
        .collect();
    let examples: Vec<_> = items
        .iter()
        .filter(|(_, item)| item.has_example())
        .map(|(file, item)| (file, item, item.programs()))
        .collect();
    let is_shown = |place: &File, wanted: &Item| {
        let name = wanted.name.as_str();
        examples.iter().any(|(file, item, programs)| {
            let is_made = file.path == place.path && words(item.gives()).contains(&"Self");
            is_made || words(programs).contains(&name) || words(&item.signature).contains(&name)
        })
    };
    items
        .iter()
        .filter(|(_, item)| !item.is_function() && !item.has_example())
        .filter(|(file, item)| !is_shown(file, item))
        .map(|(file, item)| file.complain(item.line, format!("{} lacks an example", item.name)))
        .collect()
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| c != '_' && !c.is_alphanumeric())
        .collect()
}

fn places() -> Vec<File> {
    PLACES.iter().copied().flat_map(files).collect()
}

#[test]
fn public_functions_have_a_running_example() {
    let files = places();
    assert!(files.len() > 50, "the sources were not found");
    expect_none(files.iter().flat_map(function_complaints).collect());
}

#[test]
fn public_types_have_a_running_example() {
    expect_none(type_complaints(&places()));
}

#[test]
fn example_of_functions_rule_notices() {
    let complaints = |text: &str| function_complaints(&File::new("src/net/x.rs", text));
    let count = |text: &str| complaints(text).len();
    let example = "/// # Examples\n/// ```\n/// put();\n/// ```\n";
    let put = format!("/// Puts.\n{example}pub fn put(&self, x: u8) {{}}\n");

    assert_eq!(count(&put), 0);
    assert_eq!(count("/// Puts.\npub fn put(&self, x: u8) {}"), 1);
    assert_eq!(count("pub const fn put() {}"), 1);
    assert_eq!(count("pub(crate) fn put() {}\nfn get() {}"), 0);
    assert_eq!(count("/// Puts.\n#[doc(hidden)]\npub fn put() {}"), 0);
    assert_eq!(count(&put.replace("```\n/// put", "```ignore\n/// put")), 1);
    assert_eq!(count(&put.replace("```\n/// put", "```no_run\n/// put")), 0);
    assert_eq!(count(&put.replace("# Examples", "So:")), 1);

    let all = "pub fn try_put() {}\npub fn put_timeout() {}\npub fn put_deadline() {}\n";
    assert_eq!(count(&format!("{put}{all}")), 0);
    assert_eq!(count(all), 3);
    assert_eq!(
        count("/// Like [`put`], of an old one.\npub fn put_again() {}"),
        0
    );

    assert_eq!(
        count("/// Tells whether it is.\npub fn is(&self) -> bool {"),
        0
    );
    assert_eq!(count("/// Does it.\npub fn is(&self) -> bool {"), 1);
    assert_eq!(count("/// The sum.\npub fn sum(&self, of: u8) -> u8 {"), 1);
    let waits =
        "/// The sum.\n/// May switch\n/// # Errors\n#[track_caller]\npub fn sum(&self) -> u8 {";
    assert_eq!(count(waits), 1);

    let of_type = "/// A.\n/// ```\n/// A::new().size(1);\n/// ```\npub struct A;\n";
    let made = "pub fn new() -> Self {}\npub fn size(self, n: u8) -> Self {}\n";
    assert_eq!(count(&format!("{of_type}{made}")), 0);
    assert_eq!(
        count(&format!("{of_type}pub fn depth(self) -> Self {{}}")),
        1
    );
    assert_eq!(count(&format!("{of_type}pub fn size(&self) {{}}")), 1);

    let waits = put.replace("# Examples", "May switch.\n/// # Examples");
    assert_eq!(complaints(&waits).len(), 2);
    let whole = waits.replace("May switch.", "May switch.\n/// # Errors");
    assert_eq!(
        complaints(&whole),
        ["src/net/x.rs:8: put lacks #[track_caller]"]
    );
    let whole = whole.replace("pub fn", "#[track_caller]\n#[expect(\n    x,\n)]\npub fn");
    assert_eq!(count(&whole), 0);
}

#[test]
fn lines_of_examples_do_not_count() {
    let text = "/// A.\n/// ```\n/// x\n/// ```\nfn a() {}\n";
    assert_eq!(lines_without_examples(text), 2);
}

#[test]
fn example_of_types_rule_notices() {
    let count = |texts: &[&str]| {
        let files: Vec<_> = (0..)
            .zip(texts)
            .map(|(n, text)| File::new(&format!("src/net/{n}.rs"), text))
            .collect();
        type_complaints(&files).len()
    };
    assert_eq!(count(&["/// A.\npub struct A {"]), 1);
    assert_eq!(
        count(&["/// A.\n/// ```\n/// x\n/// ```\npub struct A {"]),
        0
    );
    assert_eq!(
        count(&["/// A.\n/// ```text\n/// x\n/// ```\npub enum A {"]),
        1
    );
    let gives = "/// # Examples\n/// ```\n/// x\n/// ```\npub fn a() -> Result<A, AB> {";
    assert_eq!(count(&["pub struct A;", gives]), 0);
    assert_eq!(count(&["pub struct B;", gives]), 1);
    let own = &gives.replace("Result<A, AB>", "Self");
    assert_eq!(count(&[&format!("pub struct A;\n{own}")]), 0);
    assert_eq!(count(&["pub struct A;", own]), 1);
    let named = &gives.replace("/// x", "/// let a: C = a();");
    assert_eq!(count(&["pub enum C {", "pub enum B {", named]), 1);
    assert_eq!(count(&["pub trait Store {"]), 0);
}
