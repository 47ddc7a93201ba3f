//! The help of each command, word for word, and what all help has in common.

use insta::assert_snapshot;

use super::Kerek;

const COMMANDS: [&str; 13] = [
    "",
    "completions",
    "deploy",
    "history",
    "man-pages",
    "plugin",
    "provision",
    "rollback",
    "run-with-ssh-config",
    "transfer-images",
    "tunnel-ssh",
    "unlock",
    "help",
];

/// What a command line prints to standard output, having succeeded and printed nothing else. Line ends are trimmed:
/// clap indents empty lines.
fn help(arguments: &str) -> String {
    on_columns("100", arguments)
}

fn on_columns(columns: &str, arguments: &str) -> String {
    let (code, out, err) = Kerek::new().env("COLUMNS", columns).run(arguments.split_whitespace());
    assert_eq!((code, err.as_str()), (0, ""), "{arguments}");
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn help_fits_the_screen() {
    for command in COMMANDS {
        for option in ["-h", "--help"] {
            for (columns, width) in [("80", 80), ("100", 100), ("500", 100)] {
                let help = on_columns(columns, &format!("{command} {option}"));
                assert!(help.lines().count() > 10, "{help}");
                for line in help.lines() {
                    assert!(line.chars().count() <= width, "{command} {option} on {columns} columns: {line}");
                }
            }
        }
    }
}

#[test]
fn help_ends_with_examples() {
    for command in COMMANDS {
        for option in ["-h", "--help"] {
            let help = help(&format!("{command} {option}"));
            let (_, examples) = help.split_once("\nExamples:\n").expect("there are examples");
            let indented = |depth: &str| {
                let line = |line: &&str| line.strip_prefix(depth).is_some_and(|rest| !rest.starts_with(' '));
                examples.lines().filter(line).count()
            };
            assert!(indented("  ") >= 2, "{examples}");
            assert_eq!(indented("  "), indented("      "), "each has its explanation: {examples}");
        }
    }
}

#[test]
fn the_help_command_is_the_help_option() {
    for command in COMMANDS {
        assert_eq!(help(&format!("help {command}")), help(&format!("{command} --help")));
    }
}

#[test]
fn internals_are_not_advertised() {
    for option in ["-h", "--help"] {
        assert!(!help(option).contains("docker-cli-plugin-metadata"));
    }
}

#[test]
fn root_short() {
    assert_snapshot!(help("-h"), @"
    Deploys Docker Compose apps to servers over SSH without dropping a request

    Usage: kerek [OPTIONS] <COMMAND>

    Commands:
      deploy               Bring services to the state that the Compose files describe
      completions          Print completions for a shell
      history              Show what was deployed when, and how it ended
      man-pages            Write manual pages
      plugin               Make `docker deploy` the same as `kerek deploy`
      provision            Turn fresh hosts into container hosts
      rollback             Go back to a release that was good
      run-with-ssh-config  Run a program whose SSH connections follow a given config file
      transfer-images      Send local images to another engine without a registry, only what it lacks
      tunnel-ssh           Bring the socket of a host's engine to this machine
      unlock               Remove the lock of a project
      help                 Explain kerek or one of its commands

    Engine options:
      -c, --context <NAME>    Use the engine that this Docker context points to
      -H, --host <URL>        Use the engine at this address, such as `ssh://deploy@example.com`
          --config <DIR>      Look for contexts and settings of the docker CLI in this directory
          --tls               Encrypt the connection to a `tcp://` engine
          --tlsverify         Encrypt it, and refuse an engine without a valid certificate
          --tlscacert <FILE>  Accept engine certificates of this authority alone
          --tlscert <FILE>    Show this certificate to the engine
          --tlskey <FILE>     Prove with this key that the certificate is ours

    General options:
          --dry-run            Say what would happen, and change nothing
      -D, --debug              Log what kerek does, step by step, on standard error
      -l, --log-level <LEVEL>  Log messages of this importance or more [default: warn] [possible values:
                               debug, info, warn, error, fatal]
      -h, --help               Explain the options: `-h` in short, `--help` at length
      -V, --version            Tell which version this is

    Examples:
      kerek deploy
          Update the app in the current directory on the local engine
      kerek --host ssh://deploy@example.com deploy --dry-run
          Show what a deployment to a server would change
      kerek rollback
          Go back to the version before
    ");
}

#[test]
fn root_long() {
    assert_snapshot!(help("--help"), @"
    Deploys Docker Compose apps to servers over SSH without dropping a request.

    Use it where you would say `docker compose up`: it reads the same Compose files and speaks to the
    same engines, local or behind SSH, but takes an old container out of service only after its
    successor has proven itself.

    Usage: kerek [OPTIONS] <COMMAND>

    Commands:
      deploy               Bring services to the state that the Compose files describe
      completions          Print completions for a shell
      history              Show what was deployed when, and how it ended
      man-pages            Write manual pages
      plugin               Make `docker deploy` the same as `kerek deploy`
      provision            Turn fresh hosts into container hosts
      rollback             Go back to a release that was good
      run-with-ssh-config  Run a program whose SSH connections follow a given config file
      transfer-images      Send local images to another engine without a registry, only what it lacks
      tunnel-ssh           Bring the socket of a host's engine to this machine
      unlock               Remove the lock of a project
      help                 Explain kerek or one of its commands

    Engine options:
      -c, --context <NAME>
              Use the engine that this Docker context points to

              Wins over the environment variable `DOCKER_HOST` and over the context that is current.

      -H, --host <URL>
              Use the engine at this address, such as `ssh://deploy@example.com`

              Other forms are `unix:///path/to/socket` and `tcp://host:port`. Not to be combined with
              `--context`.

          --config <DIR>
              Look for contexts and settings of the docker CLI in this directory

          --tls
              Encrypt the connection to a `tcp://` engine

          --tlsverify
              Encrypt it, and refuse an engine without a valid certificate

          --tlscacert <FILE>
              Accept engine certificates of this authority alone

          --tlscert <FILE>
              Show this certificate to the engine

          --tlskey <FILE>
              Prove with this key that the certificate is ours

    General options:
          --dry-run
              Say what would happen, and change nothing

      -D, --debug
              Log what kerek does, step by step, on standard error

              Same as `--log-level debug`. Values of environment variables and secrets are never logged.

      -l, --log-level <LEVEL>
              Log messages of this importance or more [default: warn]

              [possible values: debug, info, warn, error, fatal]

      -h, --help
              Explain the options: `-h` in short, `--help` at length

      -V, --version
              Tell which version this is

    Examples:
      kerek deploy
          Update the app in the current directory on the local engine
      kerek --host ssh://deploy@example.com deploy --dry-run
          Show what a deployment to a server would change
      kerek rollback
          Go back to the version before
    ");
}

#[test]
fn deploy_short() {
    assert_snapshot!(help("deploy -h"), @"
    Bring services to the state that the Compose files describe

    Usage: kerek deploy [OPTIONS] [SERVICE]...

    Arguments:
      [SERVICE]...  Update these services and those they depend on; all of them if none is named

    Project options:
      -f, --file <FILE>              Read this Compose file; repeat it to merge several, `-` is standard
                                     input
      -p, --project-name <NAME>      Name the project, which is otherwise called as its files or
                                     directory say
          --project-directory <DIR>  Resolve relative paths against DIR instead of the first Compose
                                     file's directory
          --env-file <FILE>          Fill in variables of Compose files from FILE instead of `.env`; may
                                     be repeated
          --profile <NAME>           Include the services of this profile; may be repeated
          --compatibility            Name containers the way Compose v1 did, with `_` in place of `-`
          --parallel <N>             Let Compose make at most N engine calls at once; `-1` lifts the
                                     limit

    Update options:
          --force-recreate          Replace containers even where nothing has changed
          --recreate-networks       Replace networks whose definition has changed: stops all containers
                                    on them for a while
          --no-deps                 Leave out the services that the named ones depend on
          --no-start                Create the new containers and leave it at that: the old version goes
                                    on serving
          --remove-orphans          Remove containers whose service is no longer defined
      -V, --renew-anon-volumes      Give new containers empty anonymous volumes, not those of their
                                    predecessors
      -t, --timeout <SECONDS>       Kill an old container that takes longer than this to shut down
          --wait                    Come back only when each service, untouched ones too, is running or
                                    healthy
          --lock-wait <DURATION>    Wait this long for another deploy of the same project to end
          --wait-timeout <SECONDS>  Give up on a container that is not ready after this time
      -d, --detach                  Accepted for those who come from `up`; kerek never attaches to
                                    containers

    Image options:
          --build            Build images first, and update the services whose image has changed by that
          --no-build         Fail where an image would have to be built
          --pull <WHEN>      When to pull images, whatever the Compose files say [possible values:
                             always, missing, never]
          --quiet-pull       Keep the progress of pulls to yourself
          --transfer-images  Build and pull here, and send the other engine what it lacks

    Probe options:
          --probe <URL>         Ask for URL all the time, and tell how many requests failed before,
                                during and after
          --probe-rate <N>      Ask so many times a second [default: 10]
          --probe-failures <N>  Take a replica back if more requests than this have failed since the one
                                before
          --probe-from-host     Ask from the engine's host, over SSH: its `localhost` is meant by the
                                URL

    Output options:
          --progress <STYLE>  How to show progress [env: COMPOSE_PROGRESS] [possible values: auto, tty,
                              plain, json, quiet]
          --ansi <WHEN>       When to use colours and cursor movements [env: COMPOSE_ANSI] [possible
                              values: never, always, auto]

    Engine options:
      -c, --context <NAME>              Use the engine that this Docker context points to
      -H, --host <URL>                  Use the engine at this address, such as
                                        `ssh://deploy@example.com`
          --config <DIR>                Look for contexts and settings of the docker CLI in this
                                        directory
          --tls                         Encrypt the connection to a `tcp://` engine
          --tlsverify                   Encrypt it, and refuse an engine without a valid certificate
          --tlscacert <FILE>            Accept engine certificates of this authority alone
          --tlscert <FILE>              Show this certificate to the engine
          --tlskey <FILE>               Prove with this key that the certificate is ours
          --container-engine <PROGRAM>  The engine's program: `docker`, `podman`, or a path to one of
                                        them [env: CONTAINER_ENGINE] [default: docker]
      -F, --ssh-config <FILE>           Let ssh read this config file instead of the usual ones

    General options:
          --dry-run            Say what would happen, and change nothing
      -D, --debug              Log what kerek does, step by step, on standard error
      -l, --log-level <LEVEL>  Log messages of this importance or more [default: warn] [possible values:
                               debug, info, warn, error, fatal]
      -h, --help               Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek deploy --dry-run
          Show what would be updated, and why
      kerek --context production deploy --wait
          Update the app on a server; come back when all of it is up
      kerek --context production deploy --build --transfer-images
          Build here, send what the server lacks, and update what has changed
      kerek deploy --probe https://shop.example.com/
          Ask for a page meanwhile, and tell how many requests failed, if any
      kerek deploy --force-recreate web
          Replace the containers of one service although nothing has changed
    ");
}

#[test]
#[expect(clippy::too_many_lines, reason = "so long is the help")]
fn deploy_long() {
    assert_snapshot!(help("deploy --help"), @"
    Bring services to the state that the Compose files describe.

    A service is updated when its configuration differs from that of its containers, or when containers
    are missing, stopped or sick. Services take their turn in alphabetical order, though never before
    one they depend on, and replicas one batch at a time.

    With `deploy.update_config.order: start-first` in its definition, a service's new container starts,
    proves itself and takes over the traffic before the old one leaves. With `stop-first`, the default
    of Compose files, the old one stops first but is kept until its successor is known to be good.
    Should the new version fail, the old one goes on serving.

    Usage: kerek deploy [OPTIONS] [SERVICE]...

    Arguments:
      [SERVICE]...
              Update these services and those they depend on; all of them if none is named

    Project options:
      -f, --file <FILE>
              Read this Compose file; repeat it to merge several, `-` is standard input

      -p, --project-name <NAME>
              Name the project, which is otherwise called as its files or directory say

          --project-directory <DIR>
              Resolve relative paths against DIR instead of the first Compose file's directory

          --env-file <FILE>
              Fill in variables of Compose files from FILE instead of `.env`; may be repeated

          --profile <NAME>
              Include the services of this profile; may be repeated

          --compatibility
              Name containers the way Compose v1 did, with `_` in place of `-`

          --parallel <N>
              Let Compose make at most N engine calls at once; `-1` lifts the limit

    Update options:
          --force-recreate
              Replace containers even where nothing has changed

          --recreate-networks
              Replace networks whose definition has changed: stops all containers on them for a while

          --no-deps
              Leave out the services that the named ones depend on

          --no-start
              Create the new containers and leave it at that: the old version goes on serving

          --remove-orphans
              Remove containers whose service is no longer defined

      -V, --renew-anon-volumes
              Give new containers empty anonymous volumes, not those of their predecessors

      -t, --timeout <SECONDS>
              Kill an old container that takes longer than this to shut down

              In whole seconds. Without it, what `stop_grace_period` says in the Compose file, 10
              seconds by default.

          --wait
              Come back only when each service, untouched ones too, is running or healthy

          --lock-wait <DURATION>
              Wait this long for another deploy of the same project to end

              Such as 90s or 10m. Without it, kerek refuses to work at the same time as another one, and
              names it.

          --wait-timeout <SECONDS>
              Give up on a container that is not ready after this time

              In whole seconds. Without it, or if it is 0, what the healthcheck itself allows for, at
              least one minute.

      -d, --detach
              Accepted for those who come from `up`; kerek never attaches to containers

    Image options:
          --build
              Build images first, and update the services whose image has changed by that

          --no-build
              Fail where an image would have to be built

          --pull <WHEN>
              When to pull images, whatever the Compose files say

              With `always` and `missing`, services are updated whose name of an image stands for
              another one by now.

              Possible values:
              - always:  Even those that the engine has
              - missing: Those that the engine lacks
              - never:   Not at all

          --quiet-pull
              Keep the progress of pulls to yourself

          --transfer-images
              Build and pull here, and send the other engine what it lacks

              Images come from the engine that is used without --host and --context; the options on
              building and pulling are for that one. The other engine then neither builds nor pulls, and
              services whose image has changed are updated.

    Probe options:
          --probe <URL>
              Ask for URL all the time, and tell how many requests failed before, during and after

              From this machine, each time on a new connection. A status of 400 or more is a failure,
              and so is no answer within 10 seconds.

          --probe-rate <N>
              Ask so many times a second

              [default: 10]

          --probe-failures <N>
              Take a replica back if more requests than this have failed since the one before

              It then counts as bad, so that `failure_action` says what becomes of the others. What
              never answered before is not counted. Without it, failed requests are told and nothing
              more.

          --probe-from-host
              Ask from the engine's host, over SSH: its `localhost` is meant by the URL

    Output options:
          --progress <STYLE>
              How to show progress

              Possible values:
              - auto:  As `tty` on a terminal, else as `plain`
              - tty:   Lines that are updated in place
              - plain: One line after the other
              - json:  One JSON object a line, for programs
              - quiet: Nothing but warnings and errors

              [env: COMPOSE_PROGRESS]

          --ansi <WHEN>
              When to use colours and cursor movements

              [env: COMPOSE_ANSI]
              [possible values: never, always, auto]

    Engine options:
      -c, --context <NAME>
              Use the engine that this Docker context points to

              Wins over the environment variable `DOCKER_HOST` and over the context that is current.

      -H, --host <URL>
              Use the engine at this address, such as `ssh://deploy@example.com`

              Other forms are `unix:///path/to/socket` and `tcp://host:port`. Not to be combined with
              `--context`.

          --config <DIR>
              Look for contexts and settings of the docker CLI in this directory

          --tls
              Encrypt the connection to a `tcp://` engine

          --tlsverify
              Encrypt it, and refuse an engine without a valid certificate

          --tlscacert <FILE>
              Accept engine certificates of this authority alone

          --tlscert <FILE>
              Show this certificate to the engine

          --tlskey <FILE>
              Prove with this key that the certificate is ours

          --container-engine <PROGRAM>
              The engine's program: `docker`, `podman`, or a path to one of them

              [env: CONTAINER_ENGINE]
              [default: docker]

      -F, --ssh-config <FILE>
              Let ssh read this config file instead of the usual ones

    General options:
          --dry-run
              Say what would happen, and change nothing

      -D, --debug
              Log what kerek does, step by step, on standard error

              Same as `--log-level debug`. Values of environment variables and secrets are never logged.

      -l, --log-level <LEVEL>
              Log messages of this importance or more [default: warn]

              [possible values: debug, info, warn, error, fatal]

      -h, --help
              Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek deploy --dry-run
          Show what would be updated, and why
      kerek --context production deploy --wait
          Update the app on a server; come back when all of it is up
      kerek --context production deploy --build --transfer-images
          Build here, send what the server lacks, and update what has changed
      kerek deploy --probe https://shop.example.com/
          Ask for a page meanwhile, and tell how many requests failed, if any
      kerek deploy --force-recreate web
          Replace the containers of one service although nothing has changed
    ");
}

#[test]
fn provision_short() {
    assert_snapshot!(help("provision -h"), @"
    Turn fresh hosts into container hosts

    Usage: kerek provision [OPTIONS] <HOST>...

    Arguments:
      <HOST>...  The hosts: `localhost`, or `[ssh://][USER@]NAME[:PORT]`

    Options:
          --container-engine <PROGRAM>  The engine to install: `docker` or `podman` [env:
                                        CONTAINER_ENGINE] [default: docker]
          --force                       Skip the question whether to proceed
          --ask-become-password         Ask for the password that sudo wants on the hosts
          --context-name <NAME>         Call the Docker context so, and not like the host
          --no-context                  Make no Docker context
      -F, --ssh-config <FILE>           Let ssh read this config file instead of the usual ones

    General options:
          --dry-run            Say what would happen, and change nothing
      -D, --debug              Log what kerek does, step by step, on standard error
      -l, --log-level <LEVEL>  Log messages of this importance or more [default: warn] [possible values:
                               debug, info, warn, error, fatal]
      -h, --help               Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek provision deploy@example.com
          Install an engine on a server, after a look at the changes
      kerek provision --dry-run one.example.com two.example.com
          Look at two servers, and say what would change
      kerek provision --force -F ssh.conf ssh://staging:2222
          Without a question, over a given SSH config
      kerek provision --container-engine podman deploy@example.com
          Install Podman, for this user and without root
    ");
}

#[test]
fn provision_long() {
    assert_snapshot!(help("provision --help"), @"
    Turn fresh hosts into container hosts, ready for `kerek deploy`.

    Logs in, shows what a host is and what would change there, and asks for consent. Then it installs an
    engine from the host's own distribution (Debian, Ubuntu and those made from them), tries it out the
    way that a deployment goes, and makes a Docker context that leads there. Running it again finishes
    what was cut off, and changes nothing that is as it should be.

    Docker is set up to rotate logs and to let containers run on while it restarts; the user joins its
    group, which is as good as being root. Podman is set up to run without root, unless root logs in. An
    engine that is there from elsewhere is left as it is.

    Several hosts are set up side by side. The exit code is then the highest of theirs.

    Usage: kerek provision [OPTIONS] <HOST>...

    Arguments:
      <HOST>...
              The hosts: `localhost`, or `[ssh://][USER@]NAME[:PORT]`

    Options:
          --container-engine <PROGRAM>
              The engine to install: `docker` or `podman`

              [env: CONTAINER_ENGINE]
              [default: docker]

          --force
              Skip the question whether to proceed

          --ask-become-password
              Ask for the password that sudo wants on the hosts

          --context-name <NAME>
              Call the Docker context so, and not like the host

          --no-context
              Make no Docker context

      -F, --ssh-config <FILE>
              Let ssh read this config file instead of the usual ones

    General options:
          --dry-run
              Say what would happen, and change nothing

      -D, --debug
              Log what kerek does, step by step, on standard error

              Same as `--log-level debug`. Values of environment variables and secrets are never logged.

      -l, --log-level <LEVEL>
              Log messages of this importance or more [default: warn]

              [possible values: debug, info, warn, error, fatal]

      -h, --help
              Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek provision deploy@example.com
          Install an engine on a server, after a look at the changes
      kerek provision --dry-run one.example.com two.example.com
          Look at two servers, and say what would change
      kerek provision --force -F ssh.conf ssh://staging:2222
          Without a question, over a given SSH config
      kerek provision --container-engine podman deploy@example.com
          Install Podman, for this user and without root
    ");
}

#[test]
fn run_with_ssh_config_short() {
    assert_snapshot!(help("run-with-ssh-config -h"), @"
    Run a program whose SSH connections follow a given config file

    Usage: kerek run-with-ssh-config [OPTIONS] <SSH_CONFIG> <COMMAND>...

    Arguments:
      <SSH_CONFIG>  The SSH config file
      <COMMAND>...  The program and its arguments, passed on as they are

    General options:
          --dry-run            Say what would happen, and change nothing
      -D, --debug              Log what kerek does, step by step, on standard error
      -l, --log-level <LEVEL>  Log messages of this importance or more [default: warn] [possible values:
                               debug, info, warn, error, fatal]
      -h, --help               Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek run-with-ssh-config ssh.conf docker -H ssh://staging ps
          Reach an engine over a host alias in ssh.conf
      kerek run-with-ssh-config ssh.conf ssh -v staging
          See how ssh understands the config
      kerek run-with-ssh-config <(vagrant ssh-config) rsync -a site/ default:
          Copy files to a virtual machine
    ");
}

#[test]
fn run_with_ssh_config_long() {
    assert_snapshot!(help("run-with-ssh-config --help"), @"
    Run a program whose SSH connections follow a given config file.

    Programs such as docker, git or rsync call `ssh` by themselves and offer no way to choose its config
    file. Under this command, whatever they start as `ssh`, `scp` or `sftp` reads the given file, and no
    other. Everything after the program's name is its own; options, input, exit code and signals are
    those of a direct call.

    It is done by a temporary folder at the head of PATH, which is tried out before the program runs,
    and goes when the program ends. A program that sets PATH itself (a login shell, sudo), that calls
    ssh by an absolute path, or that runs on in the background goes its own way. An -F that is given to
    ssh itself wins.

    The file may be one that can be read only once, as in `<(vagrant ssh-config)`.

    Exits with 126 if the program cannot be run, 127 if there is none.

    Usage: kerek run-with-ssh-config [OPTIONS] <SSH_CONFIG> <COMMAND>...

    Arguments:
      <SSH_CONFIG>
              The SSH config file

      <COMMAND>...
              The program and its arguments, passed on as they are

    General options:
          --dry-run
              Say what would happen, and change nothing

      -D, --debug
              Log what kerek does, step by step, on standard error

              Same as `--log-level debug`. Values of environment variables and secrets are never logged.

      -l, --log-level <LEVEL>
              Log messages of this importance or more [default: warn]

              [possible values: debug, info, warn, error, fatal]

      -h, --help
              Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek run-with-ssh-config ssh.conf docker -H ssh://staging ps
          Reach an engine over a host alias in ssh.conf
      kerek run-with-ssh-config ssh.conf ssh -v staging
          See how ssh understands the config
      kerek run-with-ssh-config <(vagrant ssh-config) rsync -a site/ default:
          Copy files to a virtual machine
    ");
}

#[test]
fn transfer_images_short() {
    assert_snapshot!(help("transfer-images -h"), @"
    Send local images to another engine without a registry, only what it lacks

    Usage: kerek transfer-images [OPTIONS] [IMAGE]...

    Arguments:
      [IMAGE]...  Names of the images; `-` reads more of them from standard input, one a line

    Options:
          --force               Send all layers, whatever the destination has
          --compress <HOW>      How to compress what is sent: auto, none, gzip, zstd (at a level that
                                follows the link), zstd:LEVEL, or a command [default: auto]
          --platform <OS/ARCH>  Take the image for this platform, such as linux/arm64, where there are
                                several

    Output options:
          --progress <STYLE>  How to show progress [env: COMPOSE_PROGRESS] [possible values: auto, tty,
                              plain, json, quiet]
          --ansi <WHEN>       When to use colours and cursor movements [env: COMPOSE_ANSI] [possible
                              values: never, always, auto]

    Engine options:
      -c, --context <NAME>              Use the engine that this Docker context points to
      -H, --host <URL>                  Use the engine at this address, such as
                                        `ssh://deploy@example.com`
          --config <DIR>                Look for contexts and settings of the docker CLI in this
                                        directory
          --tls                         Encrypt the connection to a `tcp://` engine
          --tlsverify                   Encrypt it, and refuse an engine without a valid certificate
          --tlscacert <FILE>            Accept engine certificates of this authority alone
          --tlscert <FILE>              Show this certificate to the engine
          --tlskey <FILE>               Prove with this key that the certificate is ours
          --container-engine <PROGRAM>  The engine's program: `docker`, `podman`, or a path to one of
                                        them [env: CONTAINER_ENGINE] [default: docker]
      -F, --ssh-config <FILE>           Let ssh read this config file instead of the usual ones

    General options:
          --dry-run            Say what would happen, and change nothing
      -D, --debug              Log what kerek does, step by step, on standard error
      -l, --log-level <LEVEL>  Log messages of this importance or more [default: warn] [possible values:
                               debug, info, warn, error, fatal]
      -h, --help               Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek -H ssh://deploy@example.com transfer-images shop/web shop/worker
          Send two images to a server
      docker compose config --images | kerek -c production transfer-images -
          Send what the Compose files name to the engine of a context
      kerek -c production --dry-run transfer-images shop/web
          Tell how much would be sent
    ");
}

#[test]
fn transfer_images_long() {
    assert_snapshot!(help("transfer-images --help"), @r#"
    Send local images to another engine without a registry.

    Images come from the engine that DOCKER_HOST, DOCKER_CONTEXT or the current context tells, and go to
    the one that --host or --context names. Only layers that the destination lacks are sent. An image
    gets its name there when all of it has arrived and been checked; until then, the name stands for
    what it stood for before.

    Names may have a tag, a digest, both or neither, or be IDs. They are the same on the destination,
    except that Docker's classic stores know no digest of what came without a registry; a warning says
    so.

    Usage: kerek transfer-images [OPTIONS] [IMAGE]...

    Arguments:
      [IMAGE]...
              Names of the images; `-` reads more of them from standard input, one a line

    Options:
          --force
              Send all layers, whatever the destination has

          --compress <HOW>
              How to compress what is sent: auto, none, gzip, zstd (at a level that follows the link),
              zstd:LEVEL, or a command

              By default, nothing is compressed on the way to a socket on this machine, and zstd is used
              on the way to another one. Say `zstd` if a socket on this machine leads to another one. A
              command, such as "pigz -9", reads from its standard input and prints what the engine there
              decompresses by itself: gzip, bzip2, xz or zstd.

              [default: auto]

          --platform <OS/ARCH>
              Take the image for this platform, such as linux/arm64, where there are several

              By default, that is the platform of the destination; an image for another one is refused.

    Output options:
          --progress <STYLE>
              How to show progress

              Possible values:
              - auto:  As `tty` on a terminal, else as `plain`
              - tty:   Lines that are updated in place
              - plain: One line after the other
              - json:  One JSON object a line, for programs
              - quiet: Nothing but warnings and errors

              [env: COMPOSE_PROGRESS]

          --ansi <WHEN>
              When to use colours and cursor movements

              [env: COMPOSE_ANSI]
              [possible values: never, always, auto]

    Engine options:
      -c, --context <NAME>
              Use the engine that this Docker context points to

              Wins over the environment variable `DOCKER_HOST` and over the context that is current.

      -H, --host <URL>
              Use the engine at this address, such as `ssh://deploy@example.com`

              Other forms are `unix:///path/to/socket` and `tcp://host:port`. Not to be combined with
              `--context`.

          --config <DIR>
              Look for contexts and settings of the docker CLI in this directory

          --tls
              Encrypt the connection to a `tcp://` engine

          --tlsverify
              Encrypt it, and refuse an engine without a valid certificate

          --tlscacert <FILE>
              Accept engine certificates of this authority alone

          --tlscert <FILE>
              Show this certificate to the engine

          --tlskey <FILE>
              Prove with this key that the certificate is ours

          --container-engine <PROGRAM>
              The engine's program: `docker`, `podman`, or a path to one of them

              [env: CONTAINER_ENGINE]
              [default: docker]

      -F, --ssh-config <FILE>
              Let ssh read this config file instead of the usual ones

    General options:
          --dry-run
              Say what would happen, and change nothing

      -D, --debug
              Log what kerek does, step by step, on standard error

              Same as `--log-level debug`. Values of environment variables and secrets are never logged.

      -l, --log-level <LEVEL>
              Log messages of this importance or more [default: warn]

              [possible values: debug, info, warn, error, fatal]

      -h, --help
              Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek -H ssh://deploy@example.com transfer-images shop/web shop/worker
          Send two images to a server
      docker compose config --images | kerek -c production transfer-images -
          Send what the Compose files name to the engine of a context
      kerek -c production --dry-run transfer-images shop/web
          Tell how much would be sent
    "#);
}

#[test]
fn help_short() {
    assert_snapshot!(help("help -h"), @"
    Explain kerek or one of its commands

    Usage: kerek help [OPTIONS] [COMMAND]...

    Arguments:
      [COMMAND]...  The command to explain; kerek as a whole if left out

    General options:
          --dry-run            Say what would happen, and change nothing
      -D, --debug              Log what kerek does, step by step, on standard error
      -l, --log-level <LEVEL>  Log messages of this importance or more [default: warn] [possible values:
                               debug, info, warn, error, fatal]
      -h, --help               Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek help deploy
          Explain `kerek deploy` and its options at length
      kerek deploy -h
          The same in short
    ");
}

#[test]
fn help_long() {
    assert_snapshot!(help("help --help"), @"
    Explain kerek or one of its commands

    Usage: kerek help [OPTIONS] [COMMAND]...

    Arguments:
      [COMMAND]...
              The command to explain; kerek as a whole if left out

    General options:
          --dry-run
              Say what would happen, and change nothing

      -D, --debug
              Log what kerek does, step by step, on standard error

              Same as `--log-level debug`. Values of environment variables and secrets are never logged.

      -l, --log-level <LEVEL>
              Log messages of this importance or more [default: warn]

              [possible values: debug, info, warn, error, fatal]

      -h, --help
              Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek help deploy
          Explain `kerek deploy` and its options at length
      kerek deploy -h
          The same in short
    ");
}

#[test]
fn history_short() {
    assert_snapshot!(help("history -h"), @"
    Show what was deployed when, and how it ended

    Usage: kerek history [OPTIONS]

    Options:
          --format <FORMAT>  How to show releases [default: table] [possible values: table, json]

    Project options:
      -f, --file <FILE>              Read this Compose file; repeat it to merge several, `-` is standard
                                     input
      -p, --project-name <NAME>      Name the project, which is otherwise called as its files or
                                     directory say
          --project-directory <DIR>  Resolve relative paths against DIR instead of the first Compose
                                     file's directory
          --env-file <FILE>          Fill in variables of Compose files from FILE instead of `.env`; may
                                     be repeated
          --profile <NAME>           Include the services of this profile; may be repeated
          --compatibility            Name containers the way Compose v1 did, with `_` in place of `-`
          --parallel <N>             Let Compose make at most N engine calls at once; `-1` lifts the
                                     limit

    Engine options:
      -c, --context <NAME>              Use the engine that this Docker context points to
      -H, --host <URL>                  Use the engine at this address, such as
                                        `ssh://deploy@example.com`
          --config <DIR>                Look for contexts and settings of the docker CLI in this
                                        directory
          --tls                         Encrypt the connection to a `tcp://` engine
          --tlsverify                   Encrypt it, and refuse an engine without a valid certificate
          --tlscacert <FILE>            Accept engine certificates of this authority alone
          --tlscert <FILE>              Show this certificate to the engine
          --tlskey <FILE>               Prove with this key that the certificate is ours
          --container-engine <PROGRAM>  The engine's program: `docker`, `podman`, or a path to one of
                                        them [env: CONTAINER_ENGINE] [default: docker]
      -F, --ssh-config <FILE>           Let ssh read this config file instead of the usual ones

    General options:
          --dry-run            Say what would happen, and change nothing
      -D, --debug              Log what kerek does, step by step, on standard error
      -l, --log-level <LEVEL>  Log messages of this importance or more [default: warn] [possible values:
                               debug, info, warn, error, fatal]
      -h, --help               Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek history
          Show the releases of the project in this folder
      kerek --context production history -p shop
          Those of a project on a server, without its Compose files
      kerek history --format json
          The same for programs: an object a line
    ");
}

#[test]
fn history_long() {
    assert_snapshot!(help("history --help"), @"
    Show what was deployed when, by whom, and how it ended.

    Each deployment that has changed something leaves a release on the engine, so that this can be asked
    from anywhere. The last ten good ones are kept, or as many as `x-kerek: {releases: N}` in a Compose
    file says. The one whose containers are at work is marked; if none is, somebody has changed
    something by other means.

    Usage: kerek history [OPTIONS]

    Options:
          --format <FORMAT>
              How to show releases

              Possible values:
              - table: For people
              - json:  For programs: an object a line

              [default: table]

    Project options:
      -f, --file <FILE>
              Read this Compose file; repeat it to merge several, `-` is standard input

      -p, --project-name <NAME>
              Name the project, which is otherwise called as its files or directory say

          --project-directory <DIR>
              Resolve relative paths against DIR instead of the first Compose file's directory

          --env-file <FILE>
              Fill in variables of Compose files from FILE instead of `.env`; may be repeated

          --profile <NAME>
              Include the services of this profile; may be repeated

          --compatibility
              Name containers the way Compose v1 did, with `_` in place of `-`

          --parallel <N>
              Let Compose make at most N engine calls at once; `-1` lifts the limit

    Engine options:
      -c, --context <NAME>
              Use the engine that this Docker context points to

              Wins over the environment variable `DOCKER_HOST` and over the context that is current.

      -H, --host <URL>
              Use the engine at this address, such as `ssh://deploy@example.com`

              Other forms are `unix:///path/to/socket` and `tcp://host:port`. Not to be combined with
              `--context`.

          --config <DIR>
              Look for contexts and settings of the docker CLI in this directory

          --tls
              Encrypt the connection to a `tcp://` engine

          --tlsverify
              Encrypt it, and refuse an engine without a valid certificate

          --tlscacert <FILE>
              Accept engine certificates of this authority alone

          --tlscert <FILE>
              Show this certificate to the engine

          --tlskey <FILE>
              Prove with this key that the certificate is ours

          --container-engine <PROGRAM>
              The engine's program: `docker`, `podman`, or a path to one of them

              [env: CONTAINER_ENGINE]
              [default: docker]

      -F, --ssh-config <FILE>
              Let ssh read this config file instead of the usual ones

    General options:
          --dry-run
              Say what would happen, and change nothing

      -D, --debug
              Log what kerek does, step by step, on standard error

              Same as `--log-level debug`. Values of environment variables and secrets are never logged.

      -l, --log-level <LEVEL>
              Log messages of this importance or more [default: warn]

              [possible values: debug, info, warn, error, fatal]

      -h, --help
              Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek history
          Show the releases of the project in this folder
      kerek --context production history -p shop
          Those of a project on a server, without its Compose files
      kerek history --format json
          The same for programs: an object a line
    ");
}

#[test]
fn rollback_short() {
    assert_snapshot!(help("rollback -h"), @"
    Go back to a release that was good

    Usage: kerek rollback [OPTIONS] [RELEASE]

    Arguments:
      [RELEASE]  The number of the release, as `kerek history` shows it

    Project options:
      -f, --file <FILE>              Read this Compose file; repeat it to merge several, `-` is standard
                                     input
      -p, --project-name <NAME>      Name the project, which is otherwise called as its files or
                                     directory say
          --project-directory <DIR>  Resolve relative paths against DIR instead of the first Compose
                                     file's directory
          --env-file <FILE>          Fill in variables of Compose files from FILE instead of `.env`; may
                                     be repeated
          --profile <NAME>           Include the services of this profile; may be repeated
          --compatibility            Name containers the way Compose v1 did, with `_` in place of `-`
          --parallel <N>             Let Compose make at most N engine calls at once; `-1` lifts the
                                     limit

    Update options:
          --recreate-networks       Replace networks whose definition has changed: stops all containers
                                    on them for a while
          --remove-orphans          Remove containers whose service is not in the release
      -t, --timeout <SECONDS>       Kill an old container that takes longer than this to shut down
          --wait                    Come back only when each service, untouched ones too, is running or
                                    healthy
          --lock-wait <DURATION>    Wait this long for another deploy of the same project to end
          --wait-timeout <SECONDS>  Give up on a container that is not ready after this time

    Probe options:
          --probe <URL>         Ask for URL all the time, and tell how many requests failed before,
                                during and after
          --probe-rate <N>      Ask so many times a second [default: 10]
          --probe-failures <N>  Take a replica back if more requests than this have failed since the one
                                before
          --probe-from-host     Ask from the engine's host, over SSH: its `localhost` is meant by the
                                URL

    Output options:
          --progress <STYLE>  How to show progress [env: COMPOSE_PROGRESS] [possible values: auto, tty,
                              plain, json, quiet]
          --ansi <WHEN>       When to use colours and cursor movements [env: COMPOSE_ANSI] [possible
                              values: never, always, auto]

    Engine options:
      -c, --context <NAME>              Use the engine that this Docker context points to
      -H, --host <URL>                  Use the engine at this address, such as
                                        `ssh://deploy@example.com`
          --config <DIR>                Look for contexts and settings of the docker CLI in this
                                        directory
          --tls                         Encrypt the connection to a `tcp://` engine
          --tlsverify                   Encrypt it, and refuse an engine without a valid certificate
          --tlscacert <FILE>            Accept engine certificates of this authority alone
          --tlscert <FILE>              Show this certificate to the engine
          --tlskey <FILE>               Prove with this key that the certificate is ours
          --container-engine <PROGRAM>  The engine's program: `docker`, `podman`, or a path to one of
                                        them [env: CONTAINER_ENGINE] [default: docker]
      -F, --ssh-config <FILE>           Let ssh read this config file instead of the usual ones

    General options:
          --dry-run            Say what would happen, and change nothing
      -D, --debug              Log what kerek does, step by step, on standard error
      -l, --log-level <LEVEL>  Log messages of this importance or more [default: warn] [possible values:
                               debug, info, warn, error, fatal]
      -h, --help               Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek rollback
          Go back to what was good before
      kerek rollback --dry-run 7
          Show what would change by going back to release 7
      kerek --context production rollback -p shop
          On a server, without the Compose files
    ");
}

#[test]
#[expect(clippy::too_many_lines, reason = "so long is the help")]
fn rollback_long() {
    assert_snapshot!(help("rollback --help"), @"
    Go back to a release that was good.

    Without a number, that is what was good before the last deployment: the release before the one that
    is at work, or, if the last deployment failed or was cut off, the one that it was to replace. Called
    again, it goes back one more.

    A rollback is a deployment of the old configuration and of the very images that it had: replica by
    replica, without losing a request, in the order that `rollback_config` says, or else
    `update_config`. Neither the Compose files nor a registry are needed. Names of images stand for
    those of the release again. Contents of secrets are not part of a release: they are read anew, and
    so is what is mounted from the engine's host. Data in volumes stays as it is.

    Usage: kerek rollback [OPTIONS] [RELEASE]

    Arguments:
      [RELEASE]
              The number of the release, as `kerek history` shows it

    Project options:
      -f, --file <FILE>
              Read this Compose file; repeat it to merge several, `-` is standard input

      -p, --project-name <NAME>
              Name the project, which is otherwise called as its files or directory say

          --project-directory <DIR>
              Resolve relative paths against DIR instead of the first Compose file's directory

          --env-file <FILE>
              Fill in variables of Compose files from FILE instead of `.env`; may be repeated

          --profile <NAME>
              Include the services of this profile; may be repeated

          --compatibility
              Name containers the way Compose v1 did, with `_` in place of `-`

          --parallel <N>
              Let Compose make at most N engine calls at once; `-1` lifts the limit

    Update options:
          --recreate-networks
              Replace networks whose definition has changed: stops all containers on them for a while

          --remove-orphans
              Remove containers whose service is not in the release

      -t, --timeout <SECONDS>
              Kill an old container that takes longer than this to shut down

              In whole seconds. Without it, what `stop_grace_period` says in the Compose file, 10
              seconds by default.

          --wait
              Come back only when each service, untouched ones too, is running or healthy

          --lock-wait <DURATION>
              Wait this long for another deploy of the same project to end

              Such as 90s or 10m. Without it, kerek refuses to work at the same time as another one, and
              names it.

          --wait-timeout <SECONDS>
              Give up on a container that is not ready after this time

              In whole seconds. Without it, or if it is 0, what the healthcheck itself allows for, at
              least one minute.

    Probe options:
          --probe <URL>
              Ask for URL all the time, and tell how many requests failed before, during and after

              From this machine, each time on a new connection. A status of 400 or more is a failure,
              and so is no answer within 10 seconds.

          --probe-rate <N>
              Ask so many times a second

              [default: 10]

          --probe-failures <N>
              Take a replica back if more requests than this have failed since the one before

              It then counts as bad, so that `failure_action` says what becomes of the others. What
              never answered before is not counted. Without it, failed requests are told and nothing
              more.

          --probe-from-host
              Ask from the engine's host, over SSH: its `localhost` is meant by the URL

    Output options:
          --progress <STYLE>
              How to show progress

              Possible values:
              - auto:  As `tty` on a terminal, else as `plain`
              - tty:   Lines that are updated in place
              - plain: One line after the other
              - json:  One JSON object a line, for programs
              - quiet: Nothing but warnings and errors

              [env: COMPOSE_PROGRESS]

          --ansi <WHEN>
              When to use colours and cursor movements

              [env: COMPOSE_ANSI]
              [possible values: never, always, auto]

    Engine options:
      -c, --context <NAME>
              Use the engine that this Docker context points to

              Wins over the environment variable `DOCKER_HOST` and over the context that is current.

      -H, --host <URL>
              Use the engine at this address, such as `ssh://deploy@example.com`

              Other forms are `unix:///path/to/socket` and `tcp://host:port`. Not to be combined with
              `--context`.

          --config <DIR>
              Look for contexts and settings of the docker CLI in this directory

          --tls
              Encrypt the connection to a `tcp://` engine

          --tlsverify
              Encrypt it, and refuse an engine without a valid certificate

          --tlscacert <FILE>
              Accept engine certificates of this authority alone

          --tlscert <FILE>
              Show this certificate to the engine

          --tlskey <FILE>
              Prove with this key that the certificate is ours

          --container-engine <PROGRAM>
              The engine's program: `docker`, `podman`, or a path to one of them

              [env: CONTAINER_ENGINE]
              [default: docker]

      -F, --ssh-config <FILE>
              Let ssh read this config file instead of the usual ones

    General options:
          --dry-run
              Say what would happen, and change nothing

      -D, --debug
              Log what kerek does, step by step, on standard error

              Same as `--log-level debug`. Values of environment variables and secrets are never logged.

      -l, --log-level <LEVEL>
              Log messages of this importance or more [default: warn]

              [possible values: debug, info, warn, error, fatal]

      -h, --help
              Explain the options: `-h` in short, `--help` at length

    Examples:
      kerek rollback
          Go back to what was good before
      kerek rollback --dry-run 7
          Show what would change by going back to release 7
      kerek --context production rollback -p shop
          On a server, without the Compose files
    ");
}
