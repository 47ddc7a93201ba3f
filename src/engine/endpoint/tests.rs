use super::*;

/// A configuration directory with the contexts `one`, `two` (current), `bare`, `blank` and `garbled`.
fn config() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    let write = |path: &str, content: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, content).expect("file");
    };
    write("config.json", r#"{"auths": {}, "currentContext": "two"}"#);
    // Written by `docker context create one --docker host=unix:///tmp/one.sock`, the name of the directory included.
    write(
        "contexts/meta/7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed/meta.json",
        r#"{"Name":"one","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///tmp/one.sock","SkipTLSVerify":false}}}"#,
    );
    for (name, content) in [
        ("two", r#"{"Name":"two","Endpoints":{"docker":{"Host":"ssh://u@h:22"}}}"#),
        ("bare", r#"{"Name":"bare","Endpoints":{}}"#),
        ("blank", r#"{"Name":"blank","Endpoints":{"docker":{"Host":""}}}"#),
        ("garbled", "{garbled"),
    ] {
        write(&format!("contexts/meta/{}/meta.json", hash(name)), content);
    }
    directory
}

fn docker() -> Selection {
    Selection { program: "docker".into(), user_id: 1000, ..Selection::default() }
}

fn resolve(selection: &Selection) -> String {
    match Endpoint::resolve(selection) {
        Ok(endpoint) => endpoint.to_string(),
        Err(failure) => format!("{:?}: {failure}", failure.kind),
    }
}

#[test]
fn chooses_as_docker_does() {
    let config = config();
    // --host, --context, DOCKER_HOST, DOCKER_CONTEXT: what `docker context inspect` says (Docker 28.2).
    let cases: [([Option<&str>; 4], &str); 21] = [
        ([None, None, None, None], "ssh://u@h:22"),
        ([None, None, None, Some("one")], "unix:///tmp/one.sock"),
        ([None, None, None, Some("default")], "unix:///var/run/docker.sock"),
        ([None, None, None, Some("")], "ssh://u@h:22"),
        ([None, None, Some(""), None], "ssh://u@h:22"),
        ([None, None, Some("  "), None], "unix:///var/run/docker.sock"),
        ([None, None, Some("tcp://9.9.9.9:1"), None], "tcp://9.9.9.9:1"),
        ([None, None, Some("tcp://9.9.9.9:1"), Some("one")], "tcp://9.9.9.9:1"),
        ([None, Some(""), None, None], "ssh://u@h:22"),
        ([None, Some("one"), Some("tcp://9.9.9.9:1"), None], "unix:///tmp/one.sock"),
        ([None, Some("one"), None, Some("two")], "unix:///tmp/one.sock"),
        ([None, Some("default"), None, Some("one")], "unix:///var/run/docker.sock"),
        ([None, Some("default"), Some("tcp://9.9.9.9:1"), None], "tcp://9.9.9.9:1"),
        ([None, Some("blank"), None, None], "unix:///var/run/docker.sock"),
        ([Some("unix:///x"), None, Some("unix:///y"), Some("one")], "unix:///x"),
        ([Some("unix:///x"), Some(""), None, None], "unix:///x"),
        ([Some(""), None, Some("unix:///y"), None], "unix:///var/run/docker.sock"),
        ([Some("unix:///x"), Some("one"), None, None], "Usage: --host and --context exclude each other"),
        ([Some("unix:///x"), Some("default"), None, None], "Usage: --host and --context exclude each other"),
        ([None, Some("nope"), None, None], "Unchanged: context `nope` does not exist"),
        ([None, Some("bare"), None, None], "Unchanged: context `bare` has no docker endpoint"),
    ];
    for (inputs, expected) in cases {
        let [host, context, docker_host, docker_context] = inputs.map(|input| input.map(str::to_owned));
        let selection =
            Selection { host, context, docker_host, docker_context, config: Some(config.path().into()), ..docker() };
        assert_eq!(resolve(&selection), expected, "{inputs:?}");
    }
}

#[test]
fn reads_addresses_as_docker_does() {
    for (host, expected) in [
        ("unix:///x y?z", "unix:///x y?z"),
        ("unix://relative/x", "unix://relative/x"),
        (" unix:///y ", "unix:///y"),
        ("unix://", "unix:///var/run/docker.sock"),
        ("ssh://a", "ssh://a"),
        ("tcp://a:1", "tcp://a:1"),
        ("localhost:99", "tcp://localhost:99"),
        ("/var/run/docker.sock", "tcp:///var/run/docker.sock"),
        ("npipe:////./x", "npipe:////./x"),
        ("fd://1", "fd://1"),
        ("http://x:1", "Usage: --host: unknown scheme `http` in `http://x:1`"),
        ("UNIX:///x", "Usage: --host: unknown scheme `UNIX` in `UNIX:///x`"),
        ("a\u{1b}[m://x", "Usage: --host: unknown scheme `a\\x1b[m` in `a\\x1b[m://x`"),
    ] {
        let selection = Selection { host: Some(host.to_owned()), ..docker() };
        assert_eq!(resolve(&selection), expected, "{host:?}");
    }
}

#[test]
fn looks_for_the_configuration_where_docker_does() {
    let config = config();
    let directory = || Some(config.path().to_owned());
    let home = tempfile::tempdir().expect("temporary directory");
    std::os::unix::fs::symlink(config.path(), home.path().join(".docker")).expect("link");
    let nowhere = || Some(PathBuf::from("/nonexistent"));
    let resolve = |config, docker_config, home| resolve(&Selection { config, docker_config, home, ..docker() });
    let (current, default) = ("ssh://u@h:22", "unix:///var/run/docker.sock");
    assert_eq!(resolve(directory(), nowhere(), nowhere()), current);
    assert_eq!(resolve(nowhere(), directory(), None), default);
    assert_eq!(resolve(None, directory(), nowhere()), current);
    assert_eq!(resolve(None, None, Some(home.path().into())), current);
    assert_eq!(resolve(None, Some(PathBuf::new()), Some(home.path().into())), current);
    assert_eq!(resolve(None, None, nowhere()), default);
    assert_eq!(resolve(None, None, None), default);
}

#[test]
fn does_not_guess_where_a_file_is_garbled() {
    let config = config();
    let mut selection =
        Selection { config: Some(config.path().into()), context: Some("garbled".to_owned()), ..docker() };
    let failure = resolve(&selection);
    assert!(failure.starts_with("Unchanged: cannot read context `garbled`: /"), "{failure}");

    for content in ["{\"currentContext\": 5}", "{\"currentContext\": \"one\"", ""] {
        fs::write(config.path().join("config.json"), content).expect("file");
        selection.context = None;
        let failure = resolve(&selection);
        assert!(failure.starts_with("Unchanged: cannot tell the current context"), "{failure}");
        // Not needed, not read.
        selection.context = Some("one".to_owned());
        assert_eq!(resolve(&selection), "unix:///tmp/one.sock");
    }
}

#[test]
fn podman_has_its_own_defaults() {
    let podman = || Selection { program: "/usr/bin/podman".into(), ..docker() };
    assert_eq!(resolve(&podman()), "unix:///run/user/1000/podman/podman.sock");
    let runtime_directory = Some("/run/me".into());
    let selection = Selection { runtime_directory, ..podman() };
    assert_eq!(resolve(&selection), "unix:///run/me/podman/podman.sock");
    let selection = Selection { user_id: 0, ..selection };
    assert_eq!(resolve(&selection), "unix:///run/podman/podman.sock");
    let container_host = Some("ssh://core@vm/run/podman.sock".to_owned());
    let selection = Selection { container_host, ..selection };
    assert_eq!(resolve(&selection), "ssh://core@vm/run/podman.sock");
    // Docker does not know that variable; more particular choices come first for both.
    assert_eq!(resolve(&Selection { program: "docker".into(), ..selection.clone() }), "unix:///var/run/docker.sock");
    let docker_host = Some("unix:///x".to_owned());
    assert_eq!(resolve(&Selection { docker_host, ..selection }), "unix:///x");
}

#[test]
fn contexts_count_for_podman_only_where_they_are_named() {
    let config = config();
    let podman = || Selection { program: "podman".into(), config: Some(config.path().into()), ..docker() };
    let some = |text: &str| Some(text.to_owned());
    // The current one is docker's.
    assert_eq!(resolve(&podman()), "unix:///run/user/1000/podman/podman.sock");
    assert_eq!(resolve(&Selection { container_host: some("unix:///c"), ..podman() }), "unix:///c");
    // Nor does it matter whether it can be read.
    let config = Some("/dev/null/x".into());
    assert_eq!(resolve(&Selection { config, ..podman() }), "unix:///run/user/1000/podman/podman.sock");
    let named = Selection { docker_context: some("one"), ..podman() };
    assert_eq!(resolve(&named), "unix:///tmp/one.sock");
    // As DOCKER_HOST does.
    assert_eq!(resolve(&Selection { container_host: some("unix:///c"), ..named.clone() }), "unix:///c");
    assert_eq!(resolve(&Selection { docker_host: some("unix:///d"), ..named.clone() }), "unix:///d");
    let option = Selection { context: some("two"), container_host: some("unix:///c"), ..named };
    assert_eq!(resolve(&option), "ssh://u@h:22");
    let default = Selection { context: some("default"), container_host: some("unix:///c"), ..podman() };
    assert_eq!(resolve(&default), "unix:///c");
}

#[test]
fn encryption_has_an_address_of_its_own() {
    // What `docker ps` tries (Docker 28.5).
    let (tls, socket) = ("tcp://localhost:2376", "unix:///var/run/docker.sock");
    let asks = |option: &str| Selection { tls: vec![option.into()], ..docker() };
    for selection in [asks("--tls"), asks("--tlsverify"), Selection { docker_tls: true, ..docker() }] {
        assert_eq!(resolve(&selection), tls);
        let context = Some("default".to_owned());
        assert_eq!(resolve(&Selection { context, ..selection.clone() }), tls);
        let host = |host: &str| Selection { host: Some(host.to_owned()), ..selection.clone() };
        assert_eq!(resolve(&host("")), tls);
        assert_eq!(resolve(&host("unix://")), socket);
        assert_eq!(resolve(&host("tcp://a:1")), "tcp://a:1");
        // A context says by itself how it is reached, and podman's own socket has no such thing.
        let config = config();
        let current = Selection { config: Some(config.path().into()), ..selection.clone() };
        assert_eq!(resolve(&current), "ssh://u@h:22");
        let podman = Selection { program: "podman".into(), ..selection };
        assert_eq!(resolve(&podman), "unix:///run/user/1000/podman/podman.sock");
    }
    assert_eq!(resolve(&asks("--tlscacert")), socket);
}
