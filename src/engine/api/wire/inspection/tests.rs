use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::engine::{Attachment, ErrorKind};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The smallest inspection that is one, changed by what `change` does to it.
fn inspect(change: impl FnOnce(&mut Value)) -> Result<Container> {
    let mut inspection = json!({
        "Id": ID,
        "Name": "/shop-web-1",
        "Image": "sha256:abc",
        "State": {"Status": "running"},
    });
    change(&mut inspection);
    read(&inspection)
}

fn read(inspection: &Value) -> Result<Container> {
    serde_json::from_value::<Inspection>(inspection.clone())
        .map_err(|error| garbled("inspect", &error))?
        .into_container("inspect")
}

#[test]
fn reads_all_there_is() {
    let container = read(&json!({
        "Id": ID,
        "Name": "/shop-web-1",
        "Created": "1970-01-01T00:00:01Z",
        "Image": "sha256:abc",
        "RestartCount": 3,
        "State": {"Status": "exited", "Running": false, "ExitCode": 137, "OOMKilled": true,
            "StartedAt": "1970-01-01T01:00:01.5+01:00", "Health": {
            "Status": "unhealthy", "FailingStreak": 2, "Log": [{"Output": "first"}, {"Output": "second"}],
        }},
        "Config": {
            "Labels": {
                "com.docker.compose.project": "shop",
                "com.docker.compose.service": "web",
                "com.docker.compose.container-number": "7",
                "com.docker.compose.oneoff": "False",
                "com.docker.compose.config-hash": "beef",
                "com.docker.compose.project.working_dir": "/shop",
                "kerek.replaces": "feed",
            },
            "Healthcheck": {
                "Test": ["CMD", "true"], "Interval": 2_000_000_000_i64, "Timeout": 500_000_000, "Retries": 5,
                "StartPeriod": 1_000_000_000,
            },
            "StopTimeout": 42,
        },
        "HostConfig": {
            "NetworkMode": "shop_default",
            "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
            "Binds": ["shop_shared:/shared:rw", "/host:/bound:ro"],
            "Mounts": [
                {"Type": "volume", "Target": "/data", "VolumeOptions": {}},
                {"Type": "volume", "Source": "e0".repeat(32), "Target": "/kept"},
            ],
        },
        "Mounts": [
            {"Type": "volume", "Name": "d0".repeat(32), "Destination": "/data"},
            {"Type": "volume", "Name": "e0".repeat(32), "Destination": "/kept"},
            {"Type": "volume", "Name": "shop_shared", "Destination": "/shared"},
            {"Type": "bind", "Source": "/host", "Destination": "/bound"},
        ],
        "NetworkSettings": {"Networks": {"shop_default": {
            "IPAMConfig": {"IPv4Address": "10.0.0.5", "IPv6Address": "", "LinkLocalIPs": ["169.254.1.1"]},
            "Links": ["db:database"],
            "Aliases": ["shop-web-1", "web", "0123456789ab"],
            "DriverOpts": {"com.docker.network.endpoint.sysctls": "net.x=1"},
            "GwPriority": 9,
            "IPAddress": "10.0.0.5",
            "GlobalIPv6Address": "fd00::5", "MacAddress": "02:42:0a:00:00:05",
        }}},
    }));
    let attachment = Attachment {
        aliases: vec!["shop-web-1".to_owned(), "web".to_owned()],
        links: vec!["db:database".to_owned()],
        ipv4_address: Some("10.0.0.5".to_owned()),
        ipv6_address: None,
        link_local_addresses: vec!["169.254.1.1".to_owned()],
        driver_options: BTreeMap::from([("com.docker.network.endpoint.sysctls".to_owned(), "net.x=1".to_owned())]),
        gateway_priority: 9,
        address: "10.0.0.5".to_owned(),
        hardware_address: "02:42:0a:00:00:05".to_owned(),
    };
    assert_eq!(
        container.expect("a container"),
        Container {
            id: ContainerId::new(ID),
            name: "shop-web-1".to_owned(),
            service: ServiceName::new("web"),
            number: 7,
            one_off: false,
            config_hash: "beef".to_owned(),
            image: ImageId::new("sha256:abc"),
            state: State::Exited { code: 137, out_of_memory: true },
            runs_hook: false,
            created: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
            started: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
            health: Some(Health::Unhealthy),
            healthcheck: Some(Healthcheck {
                interval: Duration::from_secs(2),
                timeout: Duration::from_millis(500),
                retries: 5,
                start_period: Duration::from_secs(1),
            }),
            last_probe: "second".to_owned(),
            restarts: 3,
            restart_policy: RestartPolicy::UnlessStopped,
            stop_timeout: Some(Duration::from_secs(42)),
            networks: BTreeMap::from([(NetworkName::new("shop_default"), attachment)]),
            network_mode: "shop_default".to_owned(),
            publishes_ports: true,
            project_labels: BTreeMap::from([("com.docker.compose.project.working_dir".to_owned(), "/shop".to_owned())]),
            replaces: Some(ContainerId::new("feed")),
            volumes: BTreeMap::from([
                ("/data".to_owned(), Volume { name: "d0".repeat(32), anonymous: true, wished: false }),
                ("/kept".to_owned(), Volume { name: "e0".repeat(32), anonymous: true, wished: true }),
                ("/shared".to_owned(), Volume { name: "shop_shared".to_owned(), anonymous: false, wished: true }),
            ]),
        }
    );
}

#[test]
fn survives_missing_and_null_fields() {
    let bare = inspect(|_| ()).expect("a container");
    assert_eq!(bare.started, None);
    for never in ["0001-01-01T00:00:00Z", "", "soon"] {
        let container = inspect(|inspection| inspection["State"]["StartedAt"] = json!(never)).expect("a container");
        assert_eq!(container.started, None, "{never}");
    }
    assert_eq!((bare.service.as_str(), bare.number, bare.one_off, bare.config_hash.as_str()), ("", 0, false, ""));
    assert_eq!((bare.health, bare.healthcheck, bare.stop_timeout), (None, None, None));
    assert_eq!(bare.restart_policy, RestartPolicy::No);
    assert!(bare.networks.is_empty() && !bare.publishes_ports);

    let nulls = inspect(|inspection| {
        inspection["RestartCount"] = Value::Null;
        inspection["State"]["Health"] = Value::Null;
        inspection["Config"] = json!({"Labels": null, "Healthcheck": null, "StopTimeout": null});
        inspection["HostConfig"] = json!({"RestartPolicy": null, "PortBindings": null, "PublishAllPorts": null});
        inspection["NetworkSettings"] = json!({"Networks": {}});
    });
    assert_eq!(nulls.expect("a container"), bare);

    let networks = inspect(|inspection| {
        inspection["NetworkSettings"] = json!({"Networks": {"a": null, "b": {"Aliases": null, "IPAMConfig": null}}});
    });
    assert!(networks.expect("a container").networks.values().all(|network| *network == Attachment::default()));
}

#[test]
fn names_the_call_where_the_meaning_is_lost() {
    for field in ["Id", "Name", "Image", "State"] {
        let error = inspect(|inspection| {
            inspection.as_object_mut().expect("an object").remove(field);
        })
        .expect_err("an error");
        assert_eq!(error.kind, ErrorKind::Garbled);
        assert_eq!(error.to_string(), format!("inspect: unexpected answer: missing field `{field}`"));
    }
    let error = inspect(|inspection| inspection["State"] = json!({"Status": "levitating"})).expect_err("an error");
    assert_eq!(error.to_string(), "inspect: unexpected answer: unknown container state \"levitating\"");
}

#[test]
fn knows_states_by_all_their_names() {
    for (state, expected) in [
        (json!({"Status": "created"}), State::Created),
        (json!({"Status": "initialized"}), State::Created),
        (json!({"Status": "running"}), State::Running),
        (json!({"Status": "paused", "Running": true}), State::Paused),
        (json!({"Status": "restarting", "Running": true}), State::Restarting),
        (json!({"Status": "removing"}), State::Dead),
        (json!({"Status": "dead"}), State::Dead),
        (json!({"Status": "stopped", "ExitCode": -1}), State::Exited { code: -1, out_of_memory: false }),
        (json!({"Status": "levitating", "Running": true}), State::Running),
        (json!({"Running": true}), State::Running),
    ] {
        let container = inspect(|inspection| inspection["State"] = state.clone());
        assert_eq!(container.expect("a container").state, expected, "{state}");
    }
}

#[test]
fn health_needs_a_healthcheck() {
    let health = |test: Value, status: Value| {
        let container = inspect(|inspection| {
            inspection["Config"] = json!({"Healthcheck": {"Test": test}});
            inspection["State"]["Health"] = json!({"Status": status});
        });
        container.expect("a container").health
    };
    let test = || json!(["CMD-SHELL", "true"]);
    assert_eq!(health(test(), json!("healthy")), Some(Health::Healthy));
    assert_eq!(health(test(), json!("unhealthy")), Some(Health::Unhealthy));
    for status in [json!("starting"), json!(""), json!("none"), json!("great"), Value::Null] {
        assert_eq!(health(test(), status), Some(Health::Starting));
    }
    for test in [json!(["NONE"]), json!([]), Value::Null] {
        assert_eq!(health(test, json!("healthy")), None);
    }
}

#[test]
fn a_healthcheck_has_the_engines_defaults() {
    let defaults = Healthcheck {
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        retries: 3,
        start_period: Duration::ZERO,
    };
    for timing in [
        json!({}),
        json!({"Interval": 0, "Timeout": 0, "Retries": 0, "StartPeriod": 0}),
        json!({"Interval": -1, "Timeout": i64::MIN, "Retries": -5, "StartPeriod": -1}),
        json!({"Interval": null, "Timeout": null, "Retries": null, "StartPeriod": null}),
    ] {
        let container = inspect(|inspection| {
            inspection["Config"] = json!({"Healthcheck": timing});
            inspection["Config"]["Healthcheck"]["Test"] = json!(["CMD", "true"]);
        });
        assert_eq!(container.expect("a container").healthcheck, Some(defaults), "{timing}");
    }
}

#[test]
fn clamps_absurd_numbers() {
    let huge: Value = serde_json::from_str("123456789012345678901234567890").expect("a number");
    let container = inspect(|inspection| {
        inspection["RestartCount"] = json!(-4);
        inspection["State"] = json!({"Status": "exited", "ExitCode": u64::MAX});
        inspection["Config"] = json!({
            "StopTimeout": -1,
            "Labels": {"com.docker.compose.container-number": "99999999999999999999"},
            "Healthcheck": {"Test": ["CMD"], "Interval": huge, "Timeout": u64::MAX, "Retries": i64::MAX},
        });
    })
    .expect("a container");
    assert_eq!(container.restarts, 0);
    assert_eq!(container.number, 0);
    assert_eq!(container.state, State::Exited { code: i64::MAX, out_of_memory: false });
    assert_eq!(container.stop_timeout, Some(MAX_STOP_TIMEOUT));
    let healthcheck = container.healthcheck.expect("a healthcheck");
    assert_eq!(healthcheck.retries, u32::MAX);
    assert_eq!(healthcheck.interval, Duration::from_nanos(i64::MAX.unsigned_abs()));
}

#[test]
fn an_unknown_restart_policy_never_completes() {
    let policy = |name: Value| {
        let container = inspect(|inspection| inspection["HostConfig"] = json!({"RestartPolicy": {"Name": name}}));
        container.expect("a container").restart_policy
    };
    assert_eq!(policy(json!("")), RestartPolicy::No);
    assert_eq!(policy(json!("on-failure")), RestartPolicy::OnFailure);
    assert!(!policy(json!("when-in-the-mood")).can_complete());
}

#[test]
fn ports_are_published_one_by_one_or_all() {
    for (host, expected) in [
        (json!({"PortBindings": {"80/tcp": [{"HostPort": ""}]}}), true),
        (json!({"PublishAllPorts": true}), true),
        (json!({"PortBindings": {}, "PublishAllPorts": false}), false),
        (json!({"PortBindings": {"80/tcp": null, "81/tcp": []}}), false),
    ] {
        let container = inspect(|inspection| inspection["HostConfig"] = host.clone());
        assert_eq!(container.expect("a container").publishes_ports, expected, "{host}");
    }
}

/// Any JSON value, with the keys that inspections have.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(
                proptest::sample::select(vec![
                    "Id",
                    "Status",
                    "Health",
                    "Log",
                    "Output",
                    "Labels",
                    "Healthcheck",
                    "Test",
                    "Interval",
                    "StopTimeout",
                    "Networks",
                    "Aliases",
                    "IPAMConfig",
                    "PortBindings",
                    "RestartPolicy",
                    "Name",
                ]),
                inner,
                0..6
            )
            .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(
        state in any_json(), config in any_json(), host in any_json(), networks in any_json(), count in any_json(),
    ) {
        let result = inspect(|inspection| {
            inspection["State"]["Health"] = state;
            inspection["Config"] = config;
            inspection["HostConfig"] = host;
            inspection["NetworkSettings"]["Networks"] = networks;
            inspection["RestartCount"] = count;
        });
        if let Err(error) = result {
            prop_assert_eq!(error.kind, ErrorKind::Garbled);
        }
    }
}
