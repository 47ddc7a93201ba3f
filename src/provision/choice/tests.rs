//! Each rule, on facts that differ in what it is about.

use super::*;
use crate::provision::facts::{Docker, Packages, Podman, Room, System, User};

fn fresh() -> Facts {
    Facts {
        system: System {
            id: "debian".into(),
            release: Some((13, 0)),
            name: "Debian 13".into(),
            systemd: true,
            ..System::default()
        },
        user: User { name: "deploy".into(), id: 1000, rights: Rights::Sudo },
        rooms: vec![Room { folder: "/usr".into(), free: 2 * ROOM, read_only: false }],
        ..Facts::default()
    }
}

fn done() -> Facts {
    Facts {
        packages: Packages {
            installed: [DOCKER, PODMAN, ROOTLESS].concat().into_iter().map(Into::into).collect(),
            ..Packages::default()
        },
        docker: Docker {
            owner: Some("docker.io".into()),
            client: true,
            socket: true,
            member: true,
            enabled: true,
            active: true,
            lives_on: Some(true),
            settings: Some(Some(br#"{"live-restore": true, "log-opts": {}}"#.to_vec())),
            ..Docker::default()
        },
        podman: Podman { listens: true, ids: true, lingers: true, ports: true, ..Podman::default() },
        ..fresh()
    }
}

fn steps(facts: &Facts, engine: Engine) -> Vec<&'static str> {
    choose(facts, engine, false).expect("it is fit").changes.iter().map(Change::step).collect()
}

fn refusal(facts: &Facts, engine: Engine) -> String {
    let failure = choose(facts, engine, false).expect_err("it is not fit");
    assert_eq!(failure.kind, Kind::Unfit);
    assert!(!failure.hints.is_empty(), "{failure}");
    failure.to_string()
}

#[test]
fn a_fresh_host_gets_all() {
    assert_eq!(steps(&fresh(), Engine::Docker), ["settings", "packages", "group"]);
    assert_eq!(steps(&fresh(), Engine::Podman), ["packages", "ids", "ports", "linger", "socket", "command"]);
    let mut root = fresh();
    root.user = User { name: "root".into(), id: 0, rights: Rights::Root };
    assert_eq!(steps(&root, Engine::Docker), ["settings", "packages"]);
    assert_eq!(steps(&root, Engine::Podman), ["packages", "command"]);
    root.packages.installed.extend(PODMAN.iter().map(ToString::to_string));
    assert_eq!(steps(&root, Engine::Podman), ["socket", "command"]);
}

#[test]
fn a_host_that_is_done_gets_nothing_and_need_not_be_fit() {
    let mut facts = done();
    facts.user.rights = Rights::None;
    facts.system = System::default();
    facts.rooms[0].read_only = true;
    for engine in [Engine::Docker, Engine::Podman] {
        assert_eq!(steps(&facts, engine), [""; 0]);
    }
}

#[test]
fn settings_of_the_host_stay() {
    for (settings, keys) in [
        ("{}", &["live-restore", "log-opts"][..]),
        (r#"{"live-restore": false}"#, &["log-opts"]),
        (r#"{"log-driver": "journald"}"#, &["live-restore"]),
        (r#"{"builder": {"live-restore": 1, "log-opts": {}}, "log-opts": {}}"#, &["live-restore"]),
    ] {
        let mut facts = done();
        facts.docker.settings = Some(Some(settings.as_bytes().to_vec()));
        let changes = choose(&facts, Engine::Docker, false).expect("it is fit").changes;
        assert_eq!(changes, [Change::Settings(keys.to_vec()), Change::Restart { perhaps: false }], "{settings}");
    }
    for settings in ["[]", "{", "{} {}", "null"] {
        let mut facts = done();
        facts.docker.settings = Some(Some(settings.as_bytes().to_vec()));
        assert!(refusal(&facts, Engine::Docker).contains("daemon.json"), "{settings}");
    }
}

#[test]
fn docker_is_restarted_only_for_its_containers_to_run_on() {
    let mut facts = done();
    facts.docker.lives_on = Some(false);
    assert_eq!(steps(&facts, Engine::Docker), ["service"]);
    facts.docker.settings = None;
    assert_eq!(steps(&facts, Engine::Docker), ["settings", "service"]);
    facts.docker.swarm = true;
    assert_eq!(steps(&facts, Engine::Docker), ["settings"]);
    let notes = choose(&facts, Engine::Docker, false).expect("it is fit").notes;
    assert!(notes[0].contains("once somebody restarts Docker"), "{notes:?}");
    facts.docker.settings = Some(Some(br#"{"live-restore": true, "log-opts": {}}"#.to_vec()));
    assert_eq!(steps(&facts, Engine::Docker), [""; 0]);
    facts.docker.settings = Some(Some(br#"{"live-restore": false, "log-opts": {}}"#.to_vec()));
    assert_eq!(steps(&facts, Engine::Docker), [""; 0]);
}

#[test]
fn a_docker_that_tells_us_nothing_may_be_restarted() {
    let mut facts = done();
    facts.docker.lives_on = None;
    // Nobody becomes root to find out.
    assert_eq!(steps(&facts, Engine::Docker), [""; 0]);
    facts.docker.enabled = false;
    assert_eq!(steps(&facts, Engine::Docker), ["service"]);
    facts.docker.enabled = true;
    facts.docker.member = false;
    let changes = choose(&facts, Engine::Docker, false).expect("it is fit").changes;
    assert_eq!(changes, [Change::Restart { perhaps: true }, Change::Group("deploy".into())]);
    facts.docker.settings = Some(Some(br#"{"live-restore": false, "log-opts": {}}"#.to_vec()));
    assert_eq!(steps(&facts, Engine::Docker), ["group"]);
    facts.docker.active = false;
    assert_eq!(steps(&facts, Engine::Docker), ["service", "group"]);
}

#[test]
fn what_is_a_flag_of_the_service_is_not_written() {
    for (given, keys) in [
        (&["log-opts"][..], &["live-restore"][..]),
        (&["live-restore"], &["log-opts"]),
        (&["live-restore", "log-opts"], &[]),
        (&["config-file"], &[]),
    ] {
        let mut facts = fresh();
        facts.docker.given = given.iter().map(ToString::to_string).collect();
        let changes = choose(&facts, Engine::Docker, false).expect("it is fit").changes;
        let settings = (!keys.is_empty()).then(|| Change::Settings(keys.to_vec()));
        let found = changes.into_iter().find(|change| matches!(change, Change::Settings(_)));
        assert_eq!(found, settings, "{given:?}");
    }
    // Nobody reads what stands there.
    let mut facts = done();
    facts.docker.lives_on = Some(false);
    facts.docker.given.insert("config-file".into());
    assert_eq!(steps(&facts, Engine::Docker), [""; 0]);
}

#[test]
fn a_docker_from_elsewhere_is_left_alone() {
    for system in ["debian", "alpine"] {
        let mut facts = fresh();
        facts.system.id = system.into();
        facts.docker = Docker { owner: Some("docker-ce".into()), socket: true, open: true, ..Docker::default() };
        assert_eq!(steps(&facts, Engine::Docker), [""; 0]);
    }
    let mut facts = fresh();
    facts.docker.owner = Some("nobody".into());
    assert_eq!(steps(&facts, Engine::Docker), ["group"]);
}

#[test]
fn a_command_that_leads_to_podman_makes_way_for_docker() {
    let mut facts = done();
    facts.docker.shim = true;
    assert_eq!(steps(&facts, Engine::Docker), ["command"]);
    facts.docker.client = false;
    assert_eq!(steps(&facts, Engine::Docker), ["packages", "command"]);
    let mut facts = fresh();
    facts.docker.shim = true;
    assert_eq!(steps(&facts, Engine::Docker), ["settings", "packages", "command", "group"]);
    // It is known by its beginning.
    let mark = "# Podman, called as Docker is:";
    for script in
        [include_str!("../../../scripts/provision/look.sh"), include_str!("../../../scripts/provision/podman.sh")]
    {
        assert!(script.contains(mark));
    }
}

#[test]
fn what_was_interrupted_is_finished() {
    let mut facts = done();
    facts.packages.interrupted = true;
    facts.docker.client = false;
    assert_eq!(steps(&facts, Engine::Docker), ["dpkg", "packages"]);
    facts.packages.locked = true;
    assert_eq!(steps(&facts, Engine::Docker), ["packages"]);
}

#[test]
fn hosts_that_are_not_fit_are_refused() {
    let with = |change: &dyn Fn(&mut Facts)| {
        let mut facts = fresh();
        change(&mut facts);
        refusal(&facts, Engine::Docker)
    };
    assert!(with(&|facts| facts.system.id = "alpine".into()).contains("this is Debian 13"));
    assert!(with(&|facts| facts.system = System::default()).contains("an unknown system"));
    assert!(with(&|facts| facts.system.release = Some((10, 0))).contains("too old"));
    assert!(with(&|facts| facts.system.systemd = false).contains("without systemd"));
    assert!(with(&|facts| facts.rooms[0].read_only = true).contains("/usr is read-only"));
    assert!(with(&|facts| facts.rooms[0].free = ROOM - 1).contains("1023 MB free in /usr"));
    assert!(with(&|facts| facts.user.rights = Rights::Password).contains("password"));
    assert!(with(&|facts| facts.user.rights = Rights::Terminal).contains("terminal"));
    assert!(with(&|facts| facts.user.rights = Rights::None).contains("no sudo"));
    let mut facts = fresh();
    facts.user.rights = Rights::Password;
    choose(&facts, Engine::Docker, true).expect("there is a password");
    facts.system.release = Some((11, 0));
    assert!(refusal(&facts, Engine::Podman).contains("too old"));
}

#[test]
fn relatives_of_the_known_are_known() {
    let mut facts = fresh();
    facts.system = System { id: "mint".into(), like: vec!["ubuntu".into()], release: Some((2, 0)), ..facts.system };
    assert_eq!(steps(&facts, Engine::Docker), ["settings", "packages", "group"]);
}

#[test]
fn scripts_know_of_the_same_packages() {
    let words =
        |script: &'static str| script.split(|c: char| c.is_whitespace() || "\";$".contains(c)).collect::<Vec<_>>();
    let probe = words(include_str!("../../../scripts/provision/probe.sh"));
    let docker = words(include_str!("../../../scripts/provision/docker.sh"));
    let podman = words(include_str!("../../../scripts/provision/podman.sh"));
    for (packages, script) in [(DOCKER, docker), (PODMAN, podman.clone()), (ROOTLESS, podman)] {
        for package in packages {
            assert!(probe.contains(package), "the probe does not look for {package}");
            assert!(script.contains(package), "no script installs {package}");
        }
    }
}
