//! `tunnel-ssh`.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use crate::support::command;
use crate::support::site::Site;

fn signal(id: u32, name: &str) {
    let mut kill = Command::new("sh");
    kill.args(["-c", &format!("kill -s {name} {id}")]);
    command::run(kill).success();
}

#[test]
fn a_tunnel_stays_until_it_is_told_to_end() {
    let site = Site::docker(&["--user", "deploy"]);
    let config = site.host.ssh_config();
    let config = config.to_string_lossy();
    let name = site.host.name().to_owned();
    let kerek = env!("CARGO_BIN_EXE_kerek");
    let socket = site.path("engine.sock");
    // One that nobody serves is in nobody's way.
    drop(UnixListener::bind(&socket).expect("should bind"));
    let shown = socket.to_string_lossy();
    let version = |address: &str| {
        let arguments = ["--host", address, "info", "--format", "{{.Name}}"];
        command::run(site.command("docker", &arguments))
    };

    for (arguments, ending) in
        [(vec!["--local-socket", &*shown, "--remote-socket", "/run/docker.sock"], "INT"), (vec![], "TERM")]
    {
        let arguments = [&["tunnel-ssh", "-F", &config], &arguments[..], &[&name]].concat();
        let mut tunnel = site.command(kerek, &arguments);
        let mut tunnel = tunnel.stdout(Stdio::piped()).spawn().expect("should start kerek");
        let mut address = String::new();
        BufReader::new(tunnel.stdout.take().expect("stdout")).read_line(&mut address).expect("should read");
        assert_eq!(version(address.trim()).success().stdout.trim(), name);
        let mut second = vec!["tunnel-ssh", "--local-socket", address.trim().trim_start_matches("unix://"), &name];
        second.extend(["-F", &config]);
        let second = command::run(site.command(kerek, &second)).exits(1);
        assert!(second.stderr.contains("is in use"), "{second}");
        signal(tunnel.id(), ending);
        assert_eq!(tunnel.wait().expect("should wait").code(), Some(0));
        assert_ne!(version(address.trim()).code, Some(0));
        assert!(!socket.exists());
        site.assert_tidy();
    }

    let detached = command::run(site.command(kerek, &["tunnel-ssh", "--detach", "-F", &config, &name])).success();
    assert_eq!(version(detached.stdout.trim()).success().stdout.trim(), name);
    let id = detached.stderr.rsplit("kill ").next().and_then(|rest| rest.split('`').next()).expect("a way to end it");
    signal(id.parse().expect("a process"), "TERM");
    site.assert_tidy();

    let failed = command::run(site.command(kerek, &["tunnel-ssh", "--detach", "nobody.invalid"])).exits(3);
    assert!(failed.stderr.contains("Could not resolve hostname"), "{failed}");
}
