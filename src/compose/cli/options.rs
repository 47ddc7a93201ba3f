//! The user's options that belong to Compose, as it takes them.

use std::ffi::OsString;

/// The user's options that say which project is meant and how Compose reads it.
#[derive(Clone, Debug, Default)]
pub struct ProjectOptions {
    /// Compose files; `-` for stdin.
    pub files: Vec<OsString>,
    /// What `-` among the files stands for.
    pub stdin: Option<Vec<u8>>,
    /// The project's name.
    pub name: Option<OsString>,
    /// The directory that relative paths are relative to.
    pub directory: Option<OsString>,
    /// Files with variables.
    pub environment_files: Vec<OsString>,
    /// Enabled profiles.
    pub profiles: Vec<OsString>,
    /// Names as the first Compose made them.
    pub compatibility: bool,
    /// How much Compose does at a time; -1 for no limit.
    pub parallel: Option<i64>,
}

impl ProjectOptions {
    /// Arguments for options besides the files.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: &OsString| {
            // Joined by `=`, a value that begins with a dash stays a value.
            let mut argument = OsString::from(format!("--{name}="));
            argument.push(value);
            arguments.push(argument);
        };
        for (name, value) in [("project-name", &self.name), ("project-directory", &self.directory)] {
            if let Some(value) = value {
                add(name, value);
            }
        }
        for file in &self.environment_files {
            add("env-file", file);
        }
        for profile in &self.profiles {
            add("profile", profile);
        }
        if let Some(parallel) = self.parallel {
            add("parallel", &parallel.to_string().into());
        }
        if self.compatibility {
            arguments.push("--compatibility".into());
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stay_values() {
        let options = ProjectOptions {
            name: Some("-x".into()),
            profiles: vec!["--help".into()],
            parallel: Some(-1),
            compatibility: true,
            ..ProjectOptions::default()
        };
        assert_eq!(options.arguments(), ["--project-name=-x", "--profile=--help", "--parallel=-1", "--compatibility"]);
    }
}
