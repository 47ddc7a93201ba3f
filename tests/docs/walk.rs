//! The commands that the pages show, run as they are printed, in an order in which each has what it takes: on a laptop and a
//! server, both throw-away hosts. The laptop's engine and network are those of one of them, so that nothing on this
//! machine gets a name or a port that its user has a use for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{commands, pages};
use crate::support::command::{self, Output};
use crate::support::site::Site;

/// The image that is built has its own page, so that it can have a new one.
const DOCKERFILE: &str = "FROM busybox:1.37\nARG PAGE\nRUN mkdir /www && echo \"$PAGE\" >/www/index.html\n";

const COMPOSE: &str = r#"
services:
  web:
    build: {context: ., args: {PAGE: "$STEP"}}
    image: shop/web
    environment: {STEP: "$STEP"}
    command: [httpd, -f, -h, /www]
    ports: ["80:80"]
    healthcheck: {test: wget -q -O /dev/null http://127.0.0.1/, start_period: 60s, start_interval: 200ms}
    stop_grace_period: 1s
  image-transfer:
    image: image-transfer/web:1.0
    build: .
    deploy: {replicas: 0}
"#;

/// Where a command is typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    /// On the laptop, where its engine publishes ports.
    Laptop,
    /// On the laptop, where the server can be reached.
    Online,
    /// The same, with an SSH configuration that knows the server.
    Server,
    /// Nowhere.
    Nowhere,
}
use At::{Laptop, Nowhere, Online, Server};

/// A command as it is printed; then what makes it part of a line that can be run, with `{}` for it, or why it is not run.
type Entry = (&'static str, At, &'static str);

const WALK: &[Entry] = &[
    ("kerek help deploy", Laptop, "{}"),
    ("kerek deploy --help", Laptop, "{}"),
    ("kerek completions bash", Laptop, "source <({})"),
    ("kerek man-pages ~/.local/share/man/man1", Laptop, "{} && test -s ~/.local/share/man/man1/kerek-deploy.1"),
    // Those of the user of this machine are beside Compose.
    ("kerek plugin install", Laptop, "DOCKER_CONFIG=own {} && test -x own/cli-plugins/docker-deploy"),
    ("kerek plugin remove", Laptop, "DOCKER_CONFIG=own {} && test ! -e own/cli-plugins/docker-deploy"),
    ("kerek deploy", Laptop, "{}"),
    ("kerek deploy --dry-run", Laptop, "{}"),
    ("kerek deploy web", Laptop, "{}"),
    ("kerek deploy --wait", Laptop, "{}"),
    ("kerek deploy --build", Laptop, "{}"),
    ("kerek deploy --pull always", Laptop, "{}"),
    ("kerek deploy --force-recreate web", Laptop, "{}"),
    ("kerek deploy --no-start", Laptop, "{}"),
    ("kerek deploy --remove-orphans", Laptop, "{}"),
    ("kerek deploy --probe http://localhost/ --probe-rate 50", Laptop, "{}"),
    ("kerek history", Laptop, "{} | grep serving"),
    ("kerek history --format json", Laptop, "{} | grep '\"release\":1,'"),
    ("kerek rollback --dry-run", Laptop, "{}"),
    ("kerek rollback", Laptop, "{}"),
    ("kerek rollback 2", Laptop, "{}"),
    ("kerek rollback --probe http://localhost/", Laptop, "{}"),
    // What is not updated start-first is away for a moment.
    ("kerek deploy --probe http://localhost/ --probe-failures 0", Laptop, "code=0; {} || code=$?; test $code = 4"),
    ("kerek provision --dry-run deploy@example.com", Server, "{}"),
    (
        "kerek provision deploy@example.com",
        Server,
        "script --quiet --return --command '{}' /dev/null < <(sleep 3; echo y; exec sleep 60 2>/dev/null)",
    ),
    ("kerek --context example.com deploy --build --transfer-images", Server, "{}"),
    ("kerek --context example.com deploy", Server, "{}"),
    ("kerek --context vps deploy --build --transfer-images", Server, "{}"),
    ("kerek --context vps deploy --probe http://localhost/ --probe-from-host", Server, "{}"),
    ("kerek --context vps rollback -p shop", Server, "{}"),
    ("kerek --host ssh://deploy@example.com rollback --project-name shop", Server, "{}"),
    ("kerek --context vps --dry-run transfer-images shop/web", Server, "{}"),
    ("kerek --context vps transfer-images shop/web", Server, "{}"),
    ("kerek --context vps transfer-images -", Server, "docker compose config --images | {}"),
    ("kerek --host ssh://deploy@example.com transfer-images -", Server, "docker compose config --images | {}"),
    (
        "kerek --host ssh://deploy@example.com --dry-run transfer-images image-transfer/web:1.0",
        Server,
        "docker compose build image-transfer && {}",
    ),
    ("kerek --host ssh://two transfer-images shop/web", Server, "DOCKER_HOST=ssh://one {}"),
    ("kerek --context one deploy", Server, "{}"),
    ("kerek --context two deploy", Server, "{}"),
    ("kerek run-with-ssh-config ssh.conf docker --host ssh://vps ps", Online, "{}"),
    ("kerek run-with-ssh-config ssh.conf rsync -a site/ vps:", Online, "{}"),
    // It goes when the address has been read.
    (
        "kerek tunnel-ssh vps",
        Server,
        "exec {fd}< <(exec env --default-signal=INT {}); pid=$!; read -r address <&$fd; kill -INT $pid
        [[ $address == unix://* ]]; wait $pid || test $? = 130",
    ),
    ("kerek deploy --probe https://shop.example.com/", Nowhere, "nobody has that name; tests/probe.rs asks over TLS"),
    ("kerek deploy --container-engine podman", Nowhere, "tests/podman.rs does little else"),
    ("kerek --host ssh://… deploy --transfer-images", Nowhere, "no address is given"),
    ("kerek run-with-ssh-config FILE COMMAND…", Nowhere, "no command is given"),
    ("kerek unlock PROJECT", Nowhere, "no project is given; tests/lock.rs has one"),
    ("kerek transfer-images", Nowhere, "without arguments, it is only mentioned"),
];

#[test]
fn commands_do_what_the_pages_say() {
    let printed: BTreeSet<_> =
        pages().iter().flat_map(|page| commands(&page.text)).map(|words| words.join(" ")).collect();
    let known: BTreeSet<_> = WALK.iter().map(|(command, ..)| (*command).to_owned()).collect();
    let differences: Vec<_> = printed.symmetric_difference(&known).collect();
    assert!(differences.is_empty(), "printed but not run, or run but not printed: {differences:#?}");

    let walk = Walk::begin();
    let mut failures = Vec::new();
    for (number, (command, at, line)) in WALK.iter().enumerate() {
        if *at != Nowhere {
            let output = walk.run(number, *at, &line.replace("{}", command));
            if output.code != Some(0) {
                failures.push(output.to_string());
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

struct Walk {
    laptop: Site,
    server: Site,
}

impl Walk {
    fn begin() -> Self {
        let laptop = Site::docker(&["--user", "deploy"]);
        let server = Site::bare(&["--user", "deploy"], false);
        fs::write(laptop.path("app/Dockerfile"), DOCKERFILE).expect("should write file");
        fs::write(laptop.path("app/compose.yaml"), COMPOSE).expect("should write file");
        fs::create_dir(laptop.path("app/site")).expect("should make a folder");
        let walk = Self { laptop, server };
        walk.write_ssh_config();
        // As the page on remote hosts has it, and rsync is to be on both ends.
        walk.server.host.run(&["sh", "-c", "apt-get update -q && apt-get install -qy rsync"]).success();
        for name in ["vps", "one", "two"] {
            let create = format!("docker context create {name} --docker host=ssh://deploy@example.com");
            walk.run(0, Laptop, &create).success();
        }
        walk
    }

    /// The server under all the names that the pages have for servers.
    fn write_ssh_config(&self) {
        let config = fs::read_to_string(self.server.host.ssh_config()).expect("should read SSH configuration");
        let host = format!("Host {}\n", self.server.host.name());
        assert!(config.starts_with(&host), "{config}");
        let config = config.replacen(&host, "Host vps one two example.com\n", 1);
        fs::write(self.laptop.path("app/ssh.conf"), config).expect("should write file");
    }

    /// Runs a line of shell. Each number makes another version of what is deployed.
    fn run(&self, number: usize, at: At, line: &str) -> Output {
        let process = self.laptop.host.process();
        let kerek = Path::new(env!("CARGO_BIN_EXE_kerek"));
        let path = std::env::var("PATH").expect("PATH should be set");
        let path = format!("{}:{path}", kerek.parent().expect("should be in a folder").display());
        let place = match at {
            Laptop => &["nsenter", "--net", "--target", &process][..],
            Server => &["kerek", "run-with-ssh-config", "ssh.conf"],
            Online | Nowhere => &[],
        };
        let script = format!("set -euo pipefail\n{line}");
        let mut command = self.laptop.command("env", &[place, &["bash", "-c", &script]].concat());
        command.env("PATH", path).env("DOCKER_HOST", format!("unix:///proc/{process}/root/run/docker.sock"));
        command.env("COMPOSE_PROJECT_NAME", "shop").env("STEP", number.to_string());
        command::run(command)
    }
}
