//! `kerek transfer-images`: finds both engines and the names, and hands them to [`crate::images::transfer`].

use std::io::{self, BufRead, Read};

use anyhow::{Context, anyhow};

use super::{heeding_signals, same_engine, selection, source_selection};
use crate::cancel::Cancel;
use crate::cli::{Ansi, GlobalOptions, Progress, TransferImagesOptions};
use crate::engine::access::Access;
use crate::error::{Failure, Kind};
use crate::images::end::{End, Ends};
use crate::images::reference::ImageName;
use crate::images::transfer::{self, Options};
use crate::report::choose::choose;
use crate::text::escape;

/// The most bytes of names on standard input: a file that is no list of names should not be read to its end.
const LONGEST_LIST: u64 = 1 << 20;

pub(super) async fn run(global: &GlobalOptions, options: &TransferImagesOptions) -> Result<(), Failure> {
    let reporter =
        choose(options.output.progress.unwrap_or(Progress::Auto), options.output.ansi.unwrap_or(Ansi::Auto))?;
    let names = names(&options.images, io::stdin().lock())?;
    let to = selection(global, &options.engine.container_engine);
    let from = source_selection(global, &options.engine.container_engine);
    let cancel = Cancel::new();
    let work = async {
        let source = Access::prepare(&from, options.engine.ssh_config.as_deref()).await?;
        let destination = Access::prepare(&to, options.engine.ssh_config.as_deref()).await?;
        if source.endpoint() == destination.endpoint() {
            return Err(same_engine(source.endpoint()));
        }
        let settings = Options {
            force: options.force,
            compression: options.compress.clone().on_the_way_to(destination.endpoint()),
            platform: options.platform.clone(),
            dry_run: global.dry_run,
        };
        // One after the other, as each may have questions on the terminal.
        let (api, source_link) = source.connect(&cancel).await?;
        let source = End::new(api, &source_link);
        let result = async {
            let (api, link) = destination.connect(&cancel).await?;
            let ends = Ends { source, destination: End::new(api, &link) };
            let transferred = Box::pin(transfer::transfer(ends, &names, &settings, &*reporter, &cancel)).await;
            link.end(transferred).await
        };
        source_link.end(result.await).await
    };
    heeding_signals(&cancel, Box::pin(work), insisted).await
}

/// The names that are given, with those of standard input in place of `-`.
fn names(given: &[String], stdin: impl Read) -> Result<Vec<ImageName>, Failure> {
    let mut stdin = Some(stdin);
    let mut names = Vec::new();
    for name in given {
        if name != "-" {
            names.push(parse(name, "")?);
        } else if let Some(stdin) = stdin.take() {
            names.extend(listed(stdin)?);
        }
    }
    if names.is_empty() {
        return Err(Failure::new(Kind::Usage, anyhow!("no image is named"))
            .hint("Name images, or pipe names to it: `docker compose config --images | kerek … transfer-images -`."));
    }
    Ok(names)
}

/// Reads a name a line. Blank lines, and what begins with `#`, are ignored.
fn listed(input: impl Read) -> Result<Vec<ImageName>, Failure> {
    let mut names = Vec::new();
    let mut input = io::BufReader::new(input.take(LONGEST_LIST + 1));
    let mut read = 0;
    for number in 1.. {
        let mut line = Vec::new();
        let length = input.read_until(b'\n', &mut line).context("cannot read image names from standard input")?;
        read += length as u64;
        if length == 0 {
            break;
        }
        if read > LONGEST_LIST {
            return Err(Failure::new(Kind::Usage, anyhow!("standard input is too long for a list of image names")));
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            names.push(parse(line, &format!(" in line {number} of standard input"))?);
        }
    }
    Ok(names)
}

fn parse(name: &str, place: &str) -> Result<ImageName, Failure> {
    let shown: String = escape(name).chars().take(100).collect();
    ImageName::parse(name)
        .map_err(|reason| Failure::new(Kind::Usage, anyhow!("\"{shown}\"{place} is no image name: {reason}")))
}

/// The user did not want to wait for a good end.
fn insisted(cancel: &Cancel) -> Failure {
    Failure::new(cancel.kind(), anyhow!("stopped at once"))
        .hint("No name stands for anything but whole images. Running the same command again sends what is missing.")
}

#[cfg(test)]
mod tests {
    fn given(names: &[&str], stdin: &[u8]) -> Result<Vec<String>, String> {
        let given: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let names = super::names(&given, stdin).map_err(|failure| format!("{:?}: {failure}", failure.kind))?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_come_from_arguments_and_standard_input() {
        let names = given(&["a", "-", "b:1"], b"# comment\n\n shop/web \r\nshop/db:2").expect("names");
        assert_eq!(names, ["a", "shop/web", "shop/db:2", "b:1"]);
        assert_eq!(given(&["-", "-"], b"a").expect("names"), ["a"]);
        assert_eq!(given(&["a"], b"not read: \xff").expect("names"), ["a"]);
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_place() {
        for (stdin, expected) in [
            (&b""[..], "no image is named"),
            (b"\n# a\n", "no image is named"),
            (b"a\n--all\n", "\"--all\" in line 2 of standard input is no image name"),
            (b"a\x1b[2J\n", "\"a\\x1b[2J\" in line 1"),
            (b"\xff\n", "in line 1"),
            (&vec![b'\n'; 1 << 21], "too long"),
        ] {
            let error = given(&["-"], stdin).expect_err("no names");
            assert!(error.starts_with("Usage: ") && error.contains(expected), "{error}");
        }
    }
}
