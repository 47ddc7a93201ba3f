//! Values of environment variables as Compose sees them: the caller's own, and those of `.env` and `--env-file`.
//!
//! Compose's model names the variables behind configs and secrets without their values. `config --environment` prints
//! all variables it knows, sorted by name, a value possibly going over several lines. To cut out a value exactly, Compose
//! is given two more variables whose names sort right before and right after the wanted one.
//!
//! Old versions of Compose (2.26, for one) have no such option. They are given a model instead that refers to the
//! variables, and print it with the values in place.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Project;
use super::files::{CopiedFile, Origin};
use crate::engine::Content;

/// The character before `=` in ASCII, and the one after it: no shell lets either be part of a name.
const BEFORE: char = '<';
const AFTER: char = '>';
/// What the two variables hold.
const MARK: &str = "kerek";
/// An extension of a model, which Compose passes on.
const QUESTION: &str = "x-kerek-variables";
/// What Compose looks for.
const DEFAULT_FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The variables that hold contents of a project's files.
pub(super) fn wanted(project: &Project) -> BTreeSet<String> {
    let files = project.services.values().flat_map(|service| &service.files.copied);
    let variable = |file: &CopiedFile| match &file.origin {
        Origin::Variable(name) => Some(name.clone()),
        Origin::Inline | Origin::File(_) => None,
    };
    files.filter_map(variable).collect()
}

/// Gives each file the content of its variable.
pub(super) fn fill(project: &mut Project, values: &BTreeMap<String, Content>) {
    let files = project.services.values_mut().flat_map(|service| &mut service.files.copied);
    for file in files {
        if let Origin::Variable(variable) = &file.origin {
            file.content = values.get(variable).cloned();
        }
    }
}

/// Takes the caller's own variables, which come before all others, out of those wanted.
pub(super) fn own(
    wanted: &mut BTreeSet<String>,
    value: impl Fn(&str) -> Option<OsString>,
) -> BTreeMap<String, Content> {
    let own: BTreeMap<_, _> =
        wanted.iter().filter_map(|name| Some((name.clone(), Content(value(name)?.into_vec())))).collect();
    wanted.retain(|name| !own.contains_key(name));
    own
}

/// What to add to the environment of `config --environment`.
pub(super) fn marks(wanted: &BTreeSet<String>) -> impl Iterator<Item = (String, &'static str)> {
    wanted.iter().flat_map(|name| [BEFORE, AFTER].map(|side| (format!("{name}{side}"), MARK)))
}

/// Finds the wanted values between their marks in the output of `config --environment`; those that are not set are
/// missing. Fails with the name of a variable whose marks are not there.
pub(super) fn cut(output: &[u8], wanted: &BTreeSet<String>) -> Result<BTreeMap<String, Content>, String> {
    let output = [b"\n", output].concat();
    let find = |text: &[u8], from: usize| {
        output[from..].windows(text.len()).position(|window| window == text).map(|position| from + position)
    };
    let mut values = BTreeMap::new();
    for name in wanted {
        let before = format!("\n{name}{BEFORE}={MARK}\n");
        let after = format!("\n{name}{AFTER}={MARK}\n");
        let begin = find(before.as_bytes(), 0).map(|position| position + before.len()).ok_or_else(|| name.clone())?;
        // The line's end before the value may be that of the first mark.
        let end = find(after.as_bytes(), begin - 1).ok_or_else(|| name.clone())?;
        if end < begin {
            continue;
        }
        let value = output[begin..end].strip_prefix(format!("{name}=").as_bytes()).ok_or_else(|| name.clone())?;
        values.insert(name.clone(), Content(value.to_vec()));
    }
    Ok(values)
}

/// A model that holds the values of variables once Compose has read it.
pub(super) fn question(wanted: &BTreeSet<String>) -> String {
    let pairs: BTreeMap<_, _> =
        spellable(wanted).map(|name| (name, [format!("${{{name}+set}}"), format!("${{{name}-}}")])).collect();
    let services = json!({"none": {"image": "none"}});
    json!({"name": "kerek", "services": services, QUESTION: pairs}).to_string()
}

/// Reads the values out of what `config --format json` has made of [`question`].
pub(super) fn answers(output: &[u8]) -> Result<BTreeMap<String, Content>, String> {
    let text = String::from_utf8_lossy(output).replace("$$", "$");
    let mut model: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let pairs: BTreeMap<String, [String; 2]> =
        serde_json::from_value(model[QUESTION].take()).map_err(|error| error.to_string())?;
    let set = pairs.into_iter().filter(|(_, [set, _])| set == "set");
    Ok(set.map(|(name, [_, value])| (name, Content(value.into_bytes()))).collect())
}

/// Names that can be referred to.
fn spellable(names: &BTreeSet<String>) -> impl Iterator<Item = &String> {
    let letter = |character: char| character == '_' || character.is_ascii_alphabetic();
    names.iter().filter(move |name| {
        name.starts_with(letter) && name.chars().all(|character| letter(character) || character.is_ascii_digit())
    })
}

/// The directory that Compose takes for the project's if there is no option for it: that of the first file, given or
/// found from `here` upwards.
pub(super) fn directory(first_file: Option<&Path>, here: &Path) -> PathBuf {
    match first_file {
        Some(file) if file.as_os_str() != "-" => here.join(file.parent().unwrap_or(Path::new(""))),
        Some(_) => here.to_owned(),
        None => {
            let has_files = |folder: &&Path| DEFAULT_FILES.iter().any(|file| folder.join(file).is_file());
            here.ancestors().find(has_files).unwrap_or(here).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn content(text: &str) -> Content {
        Content(text.as_bytes().to_vec())
    }

    #[test]
    fn cuts_out_values_of_any_shape() {
        let output = b"A=1\nKEY<=kerek\nKEY=line 1\nB=2\n\nKEYS=x==\nKEY>=kerek\nKEYS<=kerek\nKEYS=\nKEYS>=kerek\nNONE<=kerek\nNONE>=kerek\n";
        let values = cut(output, &names(&["KEY", "KEYS", "NONE"])).expect("all marks are there");
        let expected = [("KEY", "line 1\nB=2\n\nKEYS=x=="), ("KEYS", "")];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), content(value))).into());
    }

    #[test]
    fn the_marks_sort_right_beside_their_variable() {
        let mut lines: Vec<_> = marks(&names(&["KEY"])).map(|(name, value)| format!("{name}={value}")).collect();
        lines.extend(["KEY=", "KEY=zzz", "KEYS=1", "KEY_2=1", "KEY1=0", "KE=1"].map(str::to_owned));
        lines.sort();
        let output = lines.join("\n");
        assert!(output.contains("KEY<=kerek\nKEY=\nKEY=zzz\nKEY>=kerek"), "{output}");
    }

    #[test]
    fn names_a_variable_that_cannot_be_found() {
        for output in ["", "KEY=1\n", "KEY<=kerek\nKEY=1\n", "KEY<=kerek\nOTHER=1\nKEY=1\nKEY>=kerek\n"] {
            assert_eq!(cut(output.as_bytes(), &names(&["KEY"])), Err("KEY".to_owned()), "{output:?}");
        }
    }

    #[test]
    fn the_callers_own_variables_come_first() {
        let mut wanted = names(&["A", "B"]);
        let own = own(&mut wanted, |name| (name == "A").then(|| "1".into()));
        assert_eq!(own, BTreeMap::from([("A".to_owned(), content("1"))]));
        assert_eq!(wanted, names(&["B"]));
    }

    #[test]
    fn an_answer_is_read_as_it_was_meant() {
        let question = question(&names(&["KEY", "no name"]));
        assert!(question.contains(r#""KEY":["${KEY+set}","${KEY-}"]"#), "{question}");
        assert!(!question.contains("no name"), "{question}");
        let answer = br#"{"services": {}, "x-kerek-variables": {"KEY": ["set", "a $$1\n"], "NONE": ["", ""]}}"#;
        assert_eq!(answers(answer), Ok(BTreeMap::from([("KEY".to_owned(), content("a $1\n"))])));
        for answer in ["", "{", "{}", r#"{"x-kerek-variables": {"KEY": 1}}"#] {
            assert!(answers(answer.as_bytes()).is_err(), "{answer}");
        }
    }

    #[test]
    fn the_projects_directory_is_where_compose_looks() {
        let folder = tempfile::tempdir().expect("a directory");
        let (project, inner) = (folder.path(), folder.path().join("a/b"));
        std::fs::create_dir_all(&inner).expect("folders");
        std::fs::write(project.join("compose.yml"), "").expect("a file");
        assert_eq!(directory(None, &inner), project);
        assert_eq!(directory(Some(Path::new("-")), &inner), inner);
        assert_eq!(directory(Some(Path::new("x.yaml")), &inner), inner);
        assert_eq!(directory(Some(Path::new("c/x.yaml")), &inner), inner.join("c"));
        assert_eq!(directory(Some(Path::new("/d/x.yaml")), &inner), Path::new("/d"));
    }
}
