use super::*;

fn only_service(body: &str) -> Result<Service, Error> {
    let yaml = format!(
        "name: shop\nservices:\n  web:\n    image: web:1\n{}\nnetworks:\n  default:\n    name: shop_default\n",
        body.lines().map(|line| format!("    {line}\n")).collect::<Vec<_>>().concat()
    );
    Ok(parse(&yaml)?.services.into_values().next().expect("one service"))
}

#[test]
fn reads_names_replicas_and_aliases() {
    let service = only_service(
        "scale: 3\ndepends_on:\n  db:\n    condition: service_started\nnetworks:\n  default:\n    aliases: [www]",
    )
    .expect("valid");
    assert_eq!(service.replicas, Some(3));
    assert_eq!(service.depends_on, BTreeMap::from([(ServiceName::new("db"), Dependency::default())]));
    let names = BTreeSet::from(["web".to_owned(), "www".to_owned()]);
    assert_eq!(service.aliases, BTreeMap::from([(NetworkName::new("shop_default"), names)]));
}

#[test]
fn reads_what_tells_others_how_containers_are() {
    for (body, healthcheck, traefik) in [
        ("labels: {com.example: \"1\"}", false, false),
        ("healthcheck: {test: [CMD, \"true\"], interval: 5s}", true, false),
        ("healthcheck: {disable: true}", false, false),
        ("labels: {traefik.http.routers.web.rule: Host(`example.com`)}", false, true),
        ("labels: {traefik.enable: \"true\"}", false, true),
        ("labels: {traefik.enable: \"false\", traefik.port: \"80\"}", false, false),
    ] {
        assert_eq!(only_service(body).expect("valid").signals, Signals { healthcheck, traefik }, "{body}");
    }
}

#[test]
fn reads_dependencies() {
    let service = only_service(
        "depends_on:\n  a: {condition: service_healthy, restart: true, required: true}\n  b: {condition: service_completed_successfully, required: false}",
    )
    .expect("valid");
    let expected = [
        ("a", Dependency { condition: Condition::Healthy, restart: true, optional: false }),
        ("b", Dependency { condition: Condition::Completed, restart: false, optional: true }),
    ];
    assert_eq!(service.depends_on, expected.map(|(name, it)| (ServiceName::new(name), it)).into());
    let unknown = only_service("depends_on:\n  a: {condition: service_happy}").expect_err("unknown");
    assert!(unknown.to_string().starts_with("services.web.depends_on.a.condition: `service_happy`"), "{unknown}");
}

#[test]
fn reads_files() {
    let yaml = "name: shop\nservices:\n  web:\n    image: web:1\n    configs:\n    - source: inline\n    - {source: inline, target: etc/x, uid: \"12\", gid: \"\", mode: \"0640\"}\n    - {source: mounted, target: /m}\n    - {source: elsewhere}\n    secrets:\n    - {source: key, mode: 256}\n    - {source: key, target: other}\nconfigs:\n  inline: {name: shop_inline, content: \"cost: 5$$\"}\n  mounted: {file: /host/$$m}\n  elsewhere: {external: true}\nsecrets:\n  key: {environment: KEY}\n";
    let project = parse(yaml).expect("valid");
    let files = &project.services[&ServiceName::new("web")].files;
    let paths: Vec<_> = files.copied.iter().map(|file| (file.path.as_str(), file.mode)).collect();
    let secrets = [("/run/secrets/key", 0o400), ("/run/secrets/other", 0o444)];
    assert_eq!(paths, [&[("/inline", 0o444), ("/etc/x", 0o640)], secrets.as_slice()].concat());
    let mounted: Vec<_> = files.mounted.iter().map(|file| [&*file.key, &*file.source, &*file.path]).collect();
    assert_eq!(mounted, [["configs.mounted", "/host/$m", "/m"]]);
    let delivered = files.mounted[0].delivered(crate::engine::Content(Vec::new()), true);
    assert_eq!(delivered.file().map(|file| (file.mode, file.uid)), Some((0o555, None)));
    let file = files.copied[1].file().expect("content");
    assert_eq!((file.content.0.as_slice(), file.uid, file.gid), (b"cost: 5$".as_slice(), Some(12), None));
    assert_eq!(files.copied[2].origin, super::super::files::Origin::Variable("KEY".to_owned()));
    assert_eq!(files.copied[2].file(), None);

    for (wrong, message) in [
        ("640x", "services.web.configs.inline.mode: `640x` is not an octal number such as `0440`"),
        ("9", "services.web.configs.inline.mode: `9` is not an octal number such as `0440`"),
    ] {
        let error = parse(&yaml.replace("\"0640\"", &format!("\"{wrong}\""))).expect_err("wrong");
        assert_eq!(error.to_string(), message);
    }
    let error = parse(&yaml.replace("\"12\"", "root")).expect_err("wrong");
    assert_eq!(error.to_string(), "services.web.configs.inline.uid: `root` is not a number");
}

#[test]
fn reads_hooks() {
    let service = only_service(
        "post_start:\n- command: [echo, $$HOME]\n  user: root\n  privileged: true\n  working_dir: /tmp\n  environment: {A: b$$c, D: null}\npre_stop:\n- command: [bye]\n",
    )
    .expect("valid");
    let exec = |words: &[&str]| crate::engine::Exec {
        command: words.iter().map(ToString::to_string).collect(),
        ..crate::engine::Exec::default()
    };
    let [hook] = service.hooks.post_start.as_slice() else { panic!("one hook") };
    assert_eq!(hook.command, ["echo", "$HOME"]);
    assert_eq!((hook.user.as_str(), hook.privileged, hook.working_dir.as_str()), ("root", true, "/tmp"));
    assert_eq!(hook.environment, ["A=b$c", "D"]);
    assert_eq!(service.hooks.pre_stop, [exec(&["bye"])]);
}

#[test]
fn names_the_image_that_compose_builds() {
    let project = parse("name: shop\nservices:\n  web:\n    build: {context: .}\n").expect("valid");
    assert_eq!(project.services[&ServiceName::new("web")].image, "shop-web");
}

#[test]
fn reads_both_policies() {
    let service = only_service(
        "deploy:\n  update_config:\n    order: start-first\n    parallelism: 0\n    delay: 1m30s\n    monitor: 15s\n    failure_action: rollback\n    max_failure_ratio: 0.3\n  rollback_config:\n    parallelism: 2",
    )
    .expect("valid");
    assert_eq!(
        service.update,
        UpdatePolicy {
            order: Order::StartFirst,
            parallelism: None,
            delay: Duration::from_secs(90),
            monitor: Some(Duration::from_secs(15)),
            failure_action: FailureAction::Rollback,
            max_failure_ratio: 0.3,
        }
    );
    let rollback = UpdatePolicy { order: Order::StartFirst, parallelism: Some(2), ..UpdatePolicy::default() };
    assert_eq!(service.rollback, rollback, "the way back is as the way there, unless told otherwise");
}

#[test]
fn the_way_back_can_have_an_order_of_its_own() {
    let body = "deploy: {update_config: {order: start-first}, rollback_config: {order: stop-first}}";
    assert_eq!(only_service(body).expect("valid").rollback.order, Order::StopFirst);
    let body = "deploy: {update_config: {order: start-first}}";
    assert_eq!(only_service(body).expect("valid").rollback.order, Order::StartFirst);
}

#[test]
fn reads_how_many_releases_are_kept() {
    let releases = |value: &str| {
        parse(&format!("name: shop\nservices: {{}}\nx-kerek: {value}\n"))
            .map(|project| project.releases)
            .map_err(|error| error.to_string())
    };
    assert_eq!(releases("{releases: 20}"), Ok(Some(20)));
    assert_eq!(releases("{releases: 0}"), Ok(Some(0)));
    assert_eq!(releases("{releases: null}"), Ok(None));
    assert_eq!(releases("null"), Ok(None));
    for value in ["{releases: 101}", "{releases: -1}", "{releases: all}", "{drain: 1s}", "7"] {
        let error = releases(value).expect_err(value);
        assert!(error.starts_with("x-kerek"), "{error}");
    }
}

#[test]
fn names_key_and_value_of_a_wrong_policy() {
    for (block, key, value, message) in [
        ("update_config", "order", "middle-first", "`middle-first` is neither `stop-first` nor `start-first`"),
        ("update_config", "failure_action", "explode", "`explode` is none of `pause`, `continue`, `rollback`"),
        ("rollback_config", "failure_action", "rollback", "`rollback` is neither `pause` nor `continue`"),
        ("update_config", "max_failure_ratio", "1.5", "`1.5` is not a share between 0 and 1, such as `0.3`"),
        ("rollback_config", "max_failure_ratio", "-0.5", "`-0.5` is not a share between 0 and 1, such as `0.3`"),
        ("update_config", "max_failure_ratio", ".nan", "`NaN` is not a share between 0 and 1, such as `0.3`"),
        ("update_config", "delay", "-1s", "`-1s` is not a duration such as `10s`"),
        ("rollback_config", "monitor", "soon", "`soon` is not a duration such as `10s`"),
    ] {
        let error = only_service(&format!("deploy: {{{block}: {{{key}: {value}}}}}")).expect_err("wrong");
        assert_eq!(error.to_string(), format!("services.web.deploy.{block}.{key}: {message}"));
    }
}

#[test]
fn reads_drain_in_all_forms() {
    let drain = |body: &str| only_service(body).map(|service| service.drain);
    let seconds = Duration::from_secs;
    assert_eq!(drain("").expect("valid"), Drain::default());
    assert_eq!(drain("x-kerek:\n  drain: 0s").expect("valid"), Drain::fixed(Duration::ZERO));
    assert_eq!(drain("x-kerek:\n  drain: 0").expect("valid"), Drain::fixed(Duration::ZERO));
    assert_eq!(drain("x-kerek:\n  drain: 7s").expect("valid"), Drain::fixed(seconds(7)));
    assert_eq!(
        drain("x-kerek:\n  drain:\n    minimum: 20s\n    quiet: 3s").expect("valid"),
        Drain { minimum: seconds(20), quiet: seconds(3), maximum: seconds(20) }
    );
}

#[test]
fn refuses_wrong_extensions() {
    for (body, message) in [
        ("x-kerek: 3", "services.web.x-kerek: must be a mapping, such as `drain: 5s`"),
        ("x-kerek:\n  drian: 3s", "services.web.x-kerek.drian: unknown key; there is `drain`"),
        ("x-kerek:\n  drain: 5", "services.web.x-kerek.drain: `5` is not a duration such as `10s`"),
        (
            "x-kerek:\n  drain:\n    minimum: 5s\n    maximum: 1s",
            "services.web.x-kerek.drain: `minimum` must not be longer than `maximum`",
        ),
    ] {
        assert_eq!(only_service(body).expect_err("wrong").to_string(), message);
    }
}

#[test]
fn finds_what_cannot_be_shared() {
    let service = only_service(
        "container_name: one\nports:\n- {target: 80, published: \"8080\"}\n- {target: 81}\n- {target: 82, published: \"9000-9001\"}\nnetworks:\n  default:\n    ipv4_address: 10.0.0.9",
    )
    .expect("valid");
    let keys: Vec<_> = service.exclusive.iter().map(|item| format!("{}={}", item.key, item.value)).collect();
    assert_eq!(keys, ["container_name=one", "ports=8080:80", "networks.default.ipv4_address=10.0.0.9"]);
    let ranges: Vec<_> = service.port_ranges.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["9000-9001:82"]);
}

#[test]
fn knows_which_services_may_complete() {
    let project = parse(
        "name: shop\nservices:\n  a:\n    image: a\n    restart: \"no\"\n  b:\n    image: b\n  c:\n    image: c\n    depends_on:\n      b:\n        condition: service_completed_successfully\n",
    )
    .expect("valid");
    let may_complete = |name| project.services[&ServiceName::new(name)].may_complete;
    assert!(may_complete("a") && may_complete("b") && !may_complete("c"));
}

#[test]
fn does_not_quote_the_model_in_errors() {
    let error = parse("name: shop\nservices:\n  web:\n    image: [secret-value]\n").expect_err("wrong");
    assert!(!error.to_string().contains("secret-value"), "{error}");
}
