//! The documentation: its links lead somewhere, its commands can be typed, and do what they are said to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

mod walk;

/// A page: where it is, and what it says.
struct Page {
    path: PathBuf,
    text: String,
}

fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_owned(), root.join("docs")].into_iter().chain(entries(&root.join("examples")));
    let paths = folders.flat_map(|folder| entries(&folder));
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| Page { text: fs::read_to_string(&path).expect("should read file"), path }).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("should read folder");
    entries.map(|entry| entry.expect("should read folder").path()).collect()
}

/// What stands between two marks, within a line each.
fn between<'a>(text: &'a str, begin: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    let pieces = text.lines().flat_map(move |line| line.split(begin).skip(1));
    pieces.filter_map(move |piece| piece.split_once(end).map(|(inside, _)| inside))
}

/// The name by which a heading can be linked to.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    heading.chars().filter(|character| character.is_alphanumeric() || matches!(character, '-' | '_')).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut count = 0;
    for Page { path, text } in pages() {
        for link in between(&text, "](", ")") {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            assert!(target.exists(), "{}: nothing is at {link}", path.display());
            if !heading.is_empty() {
                let target = fs::read_to_string(target).expect("should read file");
                let mut headings = target.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|anchor| anchor == heading), "{}: no such heading: {link}", path.display());
            }
        }
    }
    assert!(count > 30, "there are more links than {count}");
}

#[test]
fn each_page_is_linked_to_from_the_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("should read file");
    let linked: BTreeSet<_> = between(&readme, "](", ")").map(|link| root.join(link)).collect();
    for page in entries(&root.join("docs")) {
        let is_page = page.extension().is_some_and(|extension| extension == "md");
        assert!(!is_page || linked.contains(&page), "nobody finds {}", page.display());
    }
}

/// Command lines of kerek in code, as words: in blocks of shell, and in running text. Prompts, comments and what else is on
/// the line are left out.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut shell = false;
    let mut code = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            shell = !shell && matches!(language, "bash" | "sh" | "shell" | "console");
        } else if shell {
            code.push(line);
        } else {
            code.extend(line.split('`').skip(1).step_by(2));
        }
    }
    let simple =
        code.into_iter().flat_map(|line| line.split(" #").next().unwrap_or_default().split(['|', ';', '&', '(', ')']));
    let words = simple.map(|command| {
        let mut words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
        let before = words.iter().take_while(|word| *word == "$" || *word == "sudo" || word.contains('=')).count();
        words.drain(..before);
        if let Some(redirection) = words.iter().position(|word| word.starts_with(['>', '<'])) {
            words.truncate(redirection);
        }
        words
    });
    words.filter(|words| words.len() > 1 && words[0] == "kerek").collect()
}

#[test]
fn commands_can_be_typed() {
    let mut count = 0;
    for Page { path, text } in pages() {
        for words in commands(&text) {
            count += 1;
            if let Err(error) = kerek::cli::parse(&words) {
                assert_eq!(error.exit_code(), 0, "{}: {words:?}: {error}", path.display());
            }
        }
    }
    assert!(count > 60, "there are more commands than {count}");
}

#[test]
fn each_command_is_in_the_documentation() {
    let named: BTreeSet<String> = pages().iter().flat_map(|page| commands(&page.text)).flatten().collect();
    let commands = kerek::cli::definition();
    for command in commands.get_subcommands().filter(|command| !command.is_hide_set()) {
        assert!(named.contains(command.get_name()), "no page shows `kerek {}`", command.get_name());
    }
}

#[test]
fn each_exit_code_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/output.md");
    let text = fs::read_to_string(path).expect("should read file");
    let codes = text.lines().filter(|line| line.starts_with("| ")).filter_map(|row| row.split('|').nth(1));
    let codes: BTreeSet<_> = codes.flat_map(|codes| codes.split(',')).map(str::trim).collect();
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "126", "127", "130", "143"] {
        assert!(codes.contains(code), "exit code {code} is not among {codes:?}");
    }
}
