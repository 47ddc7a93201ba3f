//! `kerek transfer-images` between real engines with every kind of store: what arrives, what goes over the link, and what
//! is left when it breaks.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::command::{self, Output};
use crate::support::engines::{OtherEngine, Store, docker};
use crate::support::eventually::eventually;
use crate::support::image_archives::{Recipe, hex, inspect, layer};
use crate::support::link::{Fault, Link};

mod matrix;

/// What may go over the link besides layers.
const OVERHEAD: u64 = 64_000;
const LARGE: usize = 3_000_000;
const SMALL: usize = 200_000;

/// A command that runs kerek with an engine as its source.
fn kerek_command(source: &OtherEngine, arguments: &[&str]) -> (tempfile::TempDir, Command) {
    kerek_command_from(&source.host(), arguments)
}

/// The same with the engine's address.
fn kerek_command_from(source: &str, arguments: &[&str]) -> (tempfile::TempDir, Command) {
    let home = tempfile::tempdir().expect("temporary folder");
    let mut command = command::command(env!("CARGO_BIN_EXE_kerek"), home.path());
    command.env("DOCKER_HOST", source).args(arguments);
    (home, command)
}

fn kerek(source: &OtherEngine, arguments: &[&str], stdin: &str) -> Output {
    let (_home, command) = kerek_command(source, arguments);
    command::run_with(command, stdin.as_bytes())
}

/// An engine that can be asked what it has.
trait Engine {
    fn store(&self) -> Store;

    /// Runs the docker command against it with some standard input.
    fn docker(&self, arguments: &[&str], stdin: &[u8]) -> Output;
}

impl Engine for OtherEngine {
    fn store(&self) -> Store {
        self.store
    }

    fn docker(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        Self::docker(self, arguments, stdin)
    }
}

/// Transfers images and returns bytes on the link.
#[track_caller]
fn transfer(source: &OtherEngine, destination: &OtherEngine, arguments: &[&str]) -> u64 {
    let link = Link::to(&destination.socket(), Fault::None);
    let host = link.host();
    let output = kerek(source, &[&["-H", &host, "transfer-images", "--progress", "plain"], arguments].concat(), "");
    let output = output.success();
    assert_eq!(output.stdout, "", "{output}");
    link.sent()
}

/// Makes an image on an engine.
#[track_caller]
fn make(engine: &impl Engine, recipe: &Recipe) {
    engine.docker(&["load"], &recipe.archive()).success();
}

/// Asserts that an image is on an engine under its name, complete and with the right configuration.
#[track_caller]
fn assert_arrived(engine: &impl Engine, recipe: &Recipe) {
    assert_eq!(saved_config(engine, &recipe.name), recipe.config_hex(), "{} on {:?}", recipe.name, engine.store());
}

#[track_caller]
fn saved_config(engine: &impl Engine, name: &str) -> String {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("image.tar");
    engine.docker(&["save", "--output", file.to_str().expect("text"), name], &[]).success();
    inspect(File::open(&file).expect("a file"))
}

fn has(engine: &impl Engine, name: &str) -> bool {
    engine.docker(&["image", "inspect", name], &[]).code == Some(0)
}

/// IDs of all images, named or not.
fn images(engine: &impl Engine) -> Vec<String> {
    let listed = engine.docker(&["image", "ls", "--all", "--quiet", "--no-trunc"], &[]).success();
    let mut images: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
    images.sort();
    images.dedup();
    images
}

#[test]
fn layers_that_are_compressed_in_another_way_are_found() {
    let plain = OtherEngine::start(Store::Overlay2);
    let compressed = OtherEngine::start(Store::Containerd);
    let (bottom, top) = (layer(1, LARGE), layer(2, SMALL));
    let mut registry = Recipe::new("kerek-test/base:1", &[&bottom]);
    registry.gzip = true;
    make(&compressed, &registry);
    let image = Recipe::new("kerek-test/web:1", &[&bottom, &top]);
    make(&plain, &image);
    let bytes = transfer(&plain, &compressed, &[&image.name]);
    assert!(bytes <= top.len() as u64 + OVERHEAD, "{bytes}");
    assert_arrived(&compressed, &image);

    // And back, where layers are known by what they are.
    let mut other = Recipe::new("kerek-test/web:2", &[&bottom, &layer(3, SMALL)]);
    other.gzip = true;
    make(&compressed, &other);
    let podman = OtherEngine::start(Store::Podman);
    make(&podman, &Recipe::new("kerek-test/base:1", &[&bottom]));
    for destination in [&plain, &podman] {
        let bytes = transfer(&compressed, destination, &[&other.name]);
        assert!(bytes <= top.len() as u64 + OVERHEAD, "{bytes}");
        assert_arrived(destination, &other);
    }
}

#[test]
fn an_image_runs_where_it_was_sent() {
    let destination = OtherEngine::start(Store::Overlay2);
    let host = destination.host();
    let home = tempfile::tempdir().expect("temporary folder");
    // Those of two words are programs.
    for compression in ["none", "gzip", "zstd", "zstd:12", "gzip -1", "sh -c 'cat | gzip'"] {
        let mut command = command::command(env!("CARGO_BIN_EXE_kerek"), home.path());
        command.args(["-H", &host, "transfer-images", "--force", "--compress", compression, "busybox:1.37"]);
        command::run(command).success();
        let output = destination.docker(&["run", "--rm", "--network=none", "busybox:1.37", "echo", "fine"], &[]);
        assert_eq!(output.success().stdout, "fine\n", "{compression}");
        destination.docker(&["image", "rm", "busybox:1.37"], &[]).success();
    }
    let id = docker(None, &["image", "inspect", "--format", "{{.Id}}", "busybox:1.37"], &[]).success().stdout;
    let mut command = command::command(env!("CARGO_BIN_EXE_kerek"), home.path());
    command.args(["-H", &host, "transfer-images", id.trim()]);
    command::run(command).success();
    assert!(has(&destination, id.trim()));
}

#[test]
fn what_cannot_come_to_a_good_end_is_refused_before_anything_is_sent() {
    let (source, destination) = (OtherEngine::start(Store::Overlay2), OtherEngine::start(Store::Containerd));
    let fine = Recipe::new("kerek-test/fine:1", &[&layer(1, SMALL)]);
    let mut foreign = Recipe::new("kerek-test/foreign:1", &[&layer(2, SMALL)]);
    foreign.architecture = "s390x";
    make(&source, &fine);
    make(&source, &foreign);
    let host = destination.host();
    let run = |arguments: &[&str], stdin: &str| {
        kerek(&source, &[&["-H", &host, "transfer-images"], arguments].concat(), stdin)
    };
    let missing = run(&[&fine.name, "kerek-test/missing"], "").exits(1);
    assert!(missing.stderr.contains("there is no image kerek-test/missing"), "{missing}");
    assert!(missing.stderr.contains("docker compose build"), "{missing}");
    let refused = run(&["-"], &format!("# names\n\n{}\n{}\n", fine.name, foreign.name)).exits(1);
    assert!(refused.stderr.contains("is for linux/s390x, but the destination runs linux/"), "{refused}");
    for bad in ["--force=x", "-x", "a b", "A", "a\u{1b}[2J", ""] {
        let refused = run(&["--", bad], "").exits(2);
        assert!(!refused.stderr.contains('\u{1b}'), "{refused}");
    }
    let refused = run(&["-"], "-oProxyCommand=x\n").exits(2);
    assert!(refused.stderr.contains("line 1"), "{refused}");
    kerek(&source, &["transfer-images", &fine.name], "").exits(2);
    assert_eq!(images(&destination), [""; 0]);

    let dry = run(&["--dry-run", &fine.name], "").success();
    assert!(dry.stderr.contains("1 image to send"), "{dry}");
    assert_eq!(images(&destination), [""; 0]);
    run(&["--platform", "linux/s390x", &foreign.name], "").success();
    assert!(has(&destination, &foreign.name));
}

#[test]
fn a_program_that_fails_to_compress_is_to_blame() {
    let (source, destination) = (OtherEngine::start(Store::Overlay2), OtherEngine::start(Store::Overlay2));
    let image = Recipe::new("kerek-test/fine:1", &[&layer(1, SMALL)]);
    make(&source, &image);
    let host = destination.host();
    for (program, words) in [
        ("kerek-no-such-program", "kerek-no-such-program"),
        ("sh -c 'head -c 1000; echo out of luck >&2; exit 3'", "out of luck"),
        ("sh -c 'gzip; exit 3'", "cannot compress"),
        // It is not what an engine reads.
        ("sh -c base64", "invalid tar header"),
        ("sh -c 'head -c 1000; exec <&-; sleep 0.1'", "did not read to the end"),
    ] {
        let arguments = ["-H", &host, "transfer-images", "--compress", program, &image.name];
        let output = kerek(&source, &arguments, "").exits(1);
        assert!(output.stderr.contains(words), "{output}");
        assert_eq!(images(&destination), [""; 0], "{program}");
    }
}

#[test]
fn a_link_that_breaks_leaves_names_alone() {
    let source = OtherEngine::start(Store::Overlay2);
    for store in [Store::Overlay2, Store::Containerd, Store::Podman] {
        let destination = OtherEngine::start(store);
        let bottom = layer(1, LARGE);
        let old = Recipe::new("kerek-test/web:1", &[&bottom]);
        let new = Recipe::new("kerek-test/web:1", &[&bottom, &layer(2, LARGE)]);
        make(&destination, &old);
        make(&source, &new);
        let before = images(&destination);
        let total = LARGE as u64 + OVERHEAD / 8;
        for number in 0..20 {
            let link = Link::to(&destination.socket(), Fault::CutAt(total * number / 20));
            let output = kerek(&source, &["-H", &link.host(), "transfer-images", &new.name], "");
            assert!(matches!(output.code, Some(1 | 3)), "{output}");
            assert_eq!(saved_config(&destination, &old.name), old.config_hex(), "{output}");
        }
        eventually("nothing is left", || images(&destination) == before && destination.temporary_files().is_empty());
        let bytes = transfer(&source, &destination, &[&new.name]);
        assert!(bytes <= total + OVERHEAD, "{bytes}");
        assert_arrived(&destination, &new);
    }
}

#[test]
fn what_was_done_before_a_failure_is_told() {
    let (source, destination) = (OtherEngine::start(Store::Overlay2), OtherEngine::start(Store::Overlay2));
    let [web, worker, cron] = ["web", "worker", "cron"].map(|name| format!("kerek-test/{name}:latest"));
    let recipes =
        [(1, &web), (2, &worker), (3, &cron)].map(|(number, name)| Recipe::new(name, &[&layer(number, LARGE)]));
    for recipe in &recipes {
        make(&source, recipe);
    }
    make(&destination, &Recipe::new("kerek-test/other:1", &[&layer(1, LARGE)]));
    make(&destination, &Recipe::new(&web, &[&layer(4, SMALL)]));
    let refused = |code| {
        let arguments = ["-H", &destination.host(), "transfer-images", "--compress", "sh -c 'exit 3'", &web, &worker];
        kerek(&source, &arguments, "").exits(code)
    };
    let moved = refused(5);
    assert!(moved.stderr.contains("Hint: Names were given or moved. "), "{moved}");
    assert_arrived(&destination, &recipes[0]);
    // This time, nothing was changed.
    let unchanged = refused(1);
    assert!(!unchanged.stderr.contains("given or moved"), "{unchanged}");
    assert!(!has(&destination, &worker), "{unchanged}");

    for name in [&web, "kerek-test/other:1"] {
        destination.docker(&["image", "rm", name], &[]).success();
    }
    let link = Link::to(&destination.socket(), Fault::CutAt(LARGE as u64 * 3 / 2));
    let cut = kerek(&source, &["-H", &link.host(), "transfer-images", &web, &worker, &cron], "");
    assert!(matches!(cut.code, Some(3 | 5)), "{cut}");
    assert!(cut.stderr.contains("Hint: Images before this one have arrived. "), "{cut}");
    assert!(!cut.stderr.contains("No name was"), "{cut}");
    assert_arrived(&destination, &recipes[0]);
    assert!(!has(&destination, &worker) && !has(&destination, &cron), "{cut}");
}

#[test]
fn a_link_that_hangs_is_given_up() {
    let (source, destination) = (OtherEngine::start(Store::Overlay2), OtherEngine::start(Store::Containerd));
    std::thread::scope(|scope| {
        for number in 1..=10 {
            let (source, destination) = (&source, &destination);
            scope.spawn(move || {
                // Each its own: containerd lets the same content in but once at a time.
                let image = Recipe::new(&format!("kerek-test/web:{number}"), &[&layer(number, LARGE)]);
                make(source, &image);
                let at = LARGE as u64 * number / 11;
                let link = Link::to(&destination.socket(), Fault::StallAt(at));
                let (output, took) = std::thread::scope(|scope| {
                    let transfer = || kerek(source, &["-H", &link.host(), "transfer-images", &image.name], "");
                    let transfer = scope.spawn(transfer);
                    while link.sent() < at && !transfer.is_finished() {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    let begin = Instant::now();
                    (transfer.join().expect("should end"), begin.elapsed())
                });
                let output = output.exits(3);
                assert!(output.stderr.contains("no sign of life"), "{output}");
                assert!(took < Duration::from_secs(60), "{took:?} after it hung: {output}");
            });
        }
    });
    eventually("nothing is left", || images(&destination).is_empty());
}

#[test]
fn signals_end_both_ends() {
    let (source, destination) = (OtherEngine::start(Store::Overlay2), OtherEngine::start(Store::Overlay2));
    let image = Recipe::new("kerek-test/web:1", &[&layer(2, LARGE)]);
    make(&source, &image);
    for (signal, code) in [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143)] {
        // Nothing arrives, so that the signal comes in the middle.
        let link = Link::to(&destination.socket(), Fault::StallAt(LARGE as u64 / 2));
        let (_home, mut command) = kerek_command(&source, &["-H", &link.host(), "transfer-images", &image.name]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("kerek");
        eventually("it is in the middle", || link.sent() >= LARGE as u64 / 2);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).expect("a signal");
        let begin = Instant::now();
        let status = child.wait().expect("an end");
        let mut stderr = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
        assert_eq!(status.code(), Some(code), "{stderr}");
        assert!(begin.elapsed() < Duration::from_secs(60), "{stderr}");
    }
    eventually("nothing is left", || images(&destination).is_empty() && destination.temporary_files().is_empty());
    eventually("nothing is left at the source", || source.temporary_files().is_empty());
}

#[test]
fn two_at_once_both_succeed() {
    let (source, destination) = (OtherEngine::start(Store::Overlay2), OtherEngine::start(Store::Containerd));
    let bottom = layer(1, LARGE);
    let recipes = [2, 3].map(|number| {
        let recipe = Recipe::new(&format!("kerek-test/web:{number}"), &[&bottom, &layer(number, SMALL)]);
        make(&source, &recipe);
        recipe
    });
    std::thread::scope(|scope| {
        for recipe in [&recipes[0], &recipes[1], &recipes[0]] {
            let (source, destination) = (&source, &destination);
            scope.spawn(move || transfer(source, destination, &[&recipe.name]));
        }
    });
    for recipe in &recipes {
        assert_arrived(&destination, recipe);
    }
}

#[test]
fn a_wrong_guess_costs_a_second_try_and_nothing_else() {
    let source = OtherEngine::start(Store::Overlay2);
    let (bottom, top) = (layer(1, SMALL), layer(2, SMALL));
    let image = Recipe::new("kerek-test/web:1", &[&bottom, &top]);
    make(&source, &image);
    for store in [Store::Overlay2, Store::Containerd, Store::Podman] {
        let destination = OtherEngine::start(store);
        let there = layer(3, SMALL);
        make(&destination, &Recipe::new("kerek-test/other:1", &[&there]));
        make(&destination, &Recipe::new("kerek-test/web:1", &[&layer(4, SMALL)]));
        // The engine seems to have what it has not.
        let lie = (hex(&there), hex(&bottom));
        let link = Link::to(&destination.socket(), Fault::Lie(lie.0, lie.1));
        let output = kerek(&source, &["-H", &link.host(), "transfer-images", &image.name], "").success();
        assert!(output.stderr.contains("sending 1 of 2 layers"), "{output}");
        assert!(output.stderr.contains("sent as a whole"), "{output}");
        assert_arrived(&destination, &image);
        // The other one, this one, and the one that has lost its name.
        assert_eq!(images(&destination).len(), 3, "{output}");
    }
}

#[test]
fn what_cannot_be_picked_from_is_passed_on_as_it_is() {
    let older = OtherEngine::start(Store::Overlay2);
    let mute = OtherEngine::start(Store::Containerd);
    let image = Recipe::new("kerek-test/web:1", &[&layer(1, SMALL), &layer(2, SMALL)]);
    make(&older, &image);
    make(&mute, &image);
    for store in [Store::Overlay2, Store::Containerd, Store::Podman] {
        for (source, fault) in [
            // The layout of archives before Docker 25.
            (&older, Fault::Saves(image.old_archive())),
            // A store with manifests that gives no access to its content.
            (&mute, Fault::Lie("HTTP/1.1 101".to_owned(), "HTTP/1.1 404".to_owned())),
        ] {
            let destination = OtherEngine::start(store);
            let link = Link::to(&source.socket(), fault);
            let arguments = ["-H", &destination.host(), "transfer-images", &image.name];
            let (_home, command) = kerek_command_from(&link.host(), &arguments);
            let output = command::run(command).success();
            assert!(output.stderr.contains("sent as a whole"), "{output}");
            assert_arrived(&destination, &image);
            assert_eq!(images(&destination).len(), 1, "{output}");
        }
    }
}

#[test]
fn a_name_that_moves_meanwhile_does_not_matter() {
    let (source, destination) = (OtherEngine::start(Store::Overlay2), OtherEngine::start(Store::Overlay2));
    let first = Recipe::new("kerek-test/web:1", &[&layer(1, LARGE)]);
    let second = Recipe::new("kerek-test/web:1", &[&layer(2, LARGE)]);
    make(&source, &first);
    let link = Link::to(&destination.socket(), Fault::StallAt(LARGE as u64 / 2));
    let host = link.host();
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| kerek(&source, &["-H", &host, "transfer-images", &first.name], ""));
        eventually("it is in the middle", || link.sent() >= LARGE as u64 / 2);
        make(&source, &second);
        link.mend();
        transfer.join().expect("an end").success();
    });
    assert_arrived(&destination, &first);
    transfer(&source, &destination, &[&second.name]);
    assert_arrived(&destination, &second);
}
