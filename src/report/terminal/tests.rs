use std::cell::Cell;
use std::io;
use std::sync::LazyLock;

use indicatif::InMemoryTerm;

use super::*;
use crate::compose::Order;
use crate::report::recorded::{self, is_harmful};

thread_local! {
    /// The time of a test, since it began.
    static TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn now() -> Instant {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    *BEGIN + TIME.get()
}

fn pass(milliseconds: u64) {
    TIME.set(TIME.get() + Duration::from_millis(milliseconds));
}

/// A view without colours whose lines move only with events.
fn view(width: u16) -> (InMemoryTerm, Terminal) {
    let memory = InMemoryTerm::new(100, width);
    let screen = Screen::on(memory.clone());
    let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
    (memory, Terminal::on(screen, target, false, now, false))
}

#[test]
fn a_good_end() {
    insta::assert_snapshot!(good_end_on(80), @"
    web (start-first, 2 at a time, 10s apart)
      config changed 1f3a1f3a1f3a → 9bc09bc09bc0
      a container is unhealthy
      replace  shop-web-1
      replace  shop-web-2
      replace  shop-web-3

    worker (stop-first)
      number of replicas changed 2 → 1
      remove   shop-worker-2
      keep     shop-worker-1

    unchanged: cache, db
    2 services to update, 2 unchanged: 3 replicas to replace, 1 to remove.

    ✔ compose  3 containers created in 200ms
    ✔ web      3 replicas replaced in 7.2s
    ✔ worker   1 replica removed in 10.1s

    shop-web-1     ━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄■
    shop-web-2     ━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄■
    shop-web-3     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄■
    shop-web-4      ┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-5        ┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-6                                    ┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-worker-1  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-worker-2  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄■
                   0s                                                        3.7s
                   ━ serves   ┄ starts or leaves   ■ ended

    2 services updated, 2 unchanged in 18s
    ");
}

fn good_end_on(width: u16) -> String {
    let (memory, terminal) = view(width);
    recorded::good_end(&mut |event| {
        pass(100);
        terminal.report(event);
    });
    drop(terminal);
    memory.contents()
}

#[test]
fn a_good_end_on_a_narrow_terminal() {
    insta::assert_snapshot!(good_end_on(60), @"
    web (start-first, 2 at a time, 10s apart)
      config changed 1f3a1f3a1f3a → 9bc09bc09bc0
      a container is unhealthy
      replace  shop-web-1
      replace  shop-web-2
      replace  shop-web-3

    worker (stop-first)
      number of replicas changed 2 → 1
      remove   shop-worker-2
      keep     shop-worker-1

    unchanged: cache, db
    2 services to update, 2 unchanged: 3 replicas to replace, 1
    to remove.

    ✔ compose  3 containers created in 200ms
    ✔ web      3 replicas replaced in 7.2s
    ✔ worker   1 replica removed in 10.1s

    shop-web-1     ━━━━━━━━━━┄┄┄┄┄┄┄┄┄■
    shop-web-2     ━━━━━━━━━━━┄┄┄┄┄┄┄┄┄■
    shop-web-3     ━━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄■
    shop-web-4      ┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-5       ┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-6                          ┄┄━━━━━━━━━━━━━━━━━━━▶
    shop-worker-1  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-worker-2  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄■
                   0s                                    3.7s
                   ━ serves   ┄ starts or leaves   ■ ended

    2 services updated, 2 unchanged in 18s
    ");
}

#[test]
fn a_good_end_on_a_wide_terminal() {
    insta::assert_snapshot!(good_end_on(120), @"
    web (start-first, 2 at a time, 10s apart)
      config changed 1f3a1f3a1f3a → 9bc09bc09bc0
      a container is unhealthy
      replace  shop-web-1
      replace  shop-web-2
      replace  shop-web-3

    worker (stop-first)
      number of replicas changed 2 → 1
      remove   shop-worker-2
      keep     shop-worker-1

    unchanged: cache, db
    2 services to update, 2 unchanged: 3 replicas to replace, 1 to remove.

    ✔ compose  3 containers created in 200ms
    ✔ web      3 replicas replaced in 7.2s
    ✔ worker   1 replica removed in 10.1s

    shop-web-1     ━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄■
    shop-web-2     ━━━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄■
    shop-web-3     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄■
    shop-web-4       ┄┄┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-5          ┄┄┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-6                                                         ┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-worker-1  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-worker-2  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄■
                   0s                                                                                                3.7s
                   ━ serves   ┄ starts or leaves   ■ ended

    2 services updated, 2 unchanged in 18s
    ");
}

#[test]
fn a_bad_end() {
    let (memory, terminal) = view(80);
    recorded::bad_end(&mut |event| {
        pass(100);
        terminal.report(event);
    });
    drop(terminal);
    insta::assert_snapshot!(memory.contents(), @"
    ! web  shop-web-1 address changed 172.18.0.2 → 172.18.0.9, its connections are c
    ut
    ✘ web  shop-web-4 failed: exited with code 1
    ✘ web  shop-web-4 last output:
      | Starting
      | panic: no such table
    ✘ web  shop-web-4 last health probe:
      | curl: (7) Failed to connect
    ↺ web  rolling back 1 replica
    ↺ web  shop-web-1 restored
    note: add a healthcheck to web
      | to update faster
    warning: stop container 1f3a: timed out; it is left behind
    ✘ web  given up after 1.3s

    shop-web-3  ┄┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-1  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-4                             ┄┄┄┄┄✘
                0s                                                           1.2s
                ━ serves   ┄ starts or leaves   ■ ended
    ");
}

#[test]
fn who_goes_on_serving_is_drawn_after_a_bad_version() {
    let (memory, terminal) = view(60);
    let web = ServiceName::new("web");
    let (plan, containers) = recorded::plan();
    let failed = Step::Failed { reason: "exited with code 1" };
    for event in [
        Event::Planned { plan: &plan, containers: &containers },
        Event::ServiceBegun { service: &web, slots: 3, order: Order::StartFirst },
        Event::Step { service: &web, container: "shop-web-4", step: Step::Starting },
        Event::Step { service: &web, container: "shop-web-4", step: failed },
        Event::Step { service: &web, container: "shop-web-4", step: Step::Removed },
    ] {
        terminal.report(&event);
        pass(1_000);
    }
    drop(terminal);
    insta::assert_snapshot!(last_lines(&memory, 6), @"
    shop-web-1  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-2  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-3  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
    shop-web-4             ┄┄┄┄┄┄┄┄┄┄┄✘
                0s                                         4s
                ━ serves   ┄ starts or leaves   ■ ended
    ");
}

#[test]
fn work_is_shown_below_what_stays() {
    let (memory, terminal) = view(60);
    let (api, web) = (ServiceName::new("api"), ServiceName::new("web"));
    let (plan, containers) = recorded::plan();
    terminal.planned(&plan, &containers);
    terminal.report(&Event::Creating { containers: 3 });
    terminal.report(&Event::ComposeSaid(" web Pulling  [=====>     ]  12.5MB/29.1MB and so on and on"));
    let mut shown = vec![last_lines(&memory, 1)];
    pass(2_000);
    terminal.report(&Event::ServiceBegun { service: &api, slots: 1, order: Order::StopFirst });
    terminal.report(&Event::ServiceBegun { service: &web, slots: 3, order: Order::StartFirst });
    for container in ["shop-web-4", "shop-web-5"] {
        let deadline = Duration::from_secs(60);
        let step = Step::Waiting { healthcheck: true, deadline };
        terminal.report(&Event::Step { service: &web, container, step });
    }
    pass(12_000);
    terminal.report(&Event::Note("two lines\nof text"));
    let step = Step::Starting;
    terminal.report(&Event::Step { service: &api, container: "shop-api-1", step });
    let step = Step::Stopping;
    terminal.report(&Event::Step { service: &web, container: "shop-web-1", step });
    shown.push(last_lines(&memory, 5));
    terminal.report(&Event::ServiceDone { service: &api, took: Duration::from_millis(12_345) });
    shown.push(last_lines(&memory, 4));
    insta::assert_snapshot!(shown.join("\n---\n"), @"
    ⠋ compose  creating 3 containers   0s  web Pulling [=====…
    ---
    ✔ compose  3 containers created in 2s
    note: two lines
      | of text
    ⠋ api      0/1  12s  shop-api-1 starting
    ⠋ web      0/3  12s  shop-web-4 +1 healthcheck 12s of 1m,…
    ---
    note: two lines
      | of text
    ✔ api      1 replica updated in 12.3s
    ⠋ web      0/3  12s  shop-web-4 +1 healthcheck 12s of 1m,…
    ");
}

fn last_lines(memory: &InMemoryTerm, number: usize) -> String {
    let contents = memory.contents();
    let lines: Vec<_> = contents.lines().collect();
    lines[lines.len().saturating_sub(number)..].join("\n")
}

#[test]
fn the_cursor_ends_at_the_beginning_of_a_line() {
    for story in [recorded::good_end, recorded::bad_end] {
        let (memory, terminal) = view(80);
        story(&mut |event| terminal.report(event));
        drop(terminal);
        let before = memory.contents();
        memory.write_str("$ ").expect("memory");
        assert_eq!(memory.contents(), format!("{before}\n$"));
    }
}

#[test]
fn an_empty_line_comes_between_a_failed_run_and_what_is_said_of_it() {
    let (memory, terminal) = view(80);
    recorded::bad_end(&mut |event| {
        pass(100);
        terminal.report(event);
    });
    drop(terminal);
    memory.write_str("Error: ").expect("memory");
    insta::assert_snapshot!(last_lines(&memory, 5), @"
    shop-web-4                             ┄┄┄┄┄✘
                0s                                                           1.2s
                ━ serves   ┄ starts or leaves   ■ ended

    Error:
    ");
}

#[test]
fn what_the_terminal_echoes_leaves_no_trace() {
    let (memory, terminal) = view(40);
    for name in ["api", "web"] {
        let service = &ServiceName::new(name);
        terminal.report(&Event::ServiceBegun { service, slots: 1, order: Order::StopFirst });
        for number in 1..10 {
            let container = format!("shop-{name}-{number}");
            let step = if number % 2 == 0 { Step::Starting } else { Step::Stopping };
            terminal.report(&Event::Step { service, container: &container, step });
        }
    }
    memory.write_str("^C").expect("memory");
    assert!(memory.contents().ends_with("…^C"), "{}", memory.contents());
    let service = &ServiceName::new("web");
    terminal.report(&Event::Step { service, container: "shop-web-10", step: Step::Starting });
    assert_eq!(memory.contents().lines().count(), 2, "{}", memory.contents());
    drop(terminal);
    assert_eq!(memory.contents().lines().count(), 2, "{}", memory.contents());
    assert!(!memory.contents().contains("^C"), "{}", memory.contents());
}

#[test]
fn nothing_to_do_is_said_once() {
    let (memory, terminal) = view(80);
    let plan = Plan { services: vec![recorded::service("web")], orphans: Vec::new(), networks: BTreeMap::new() };
    terminal.report(&Event::Planned { plan: &plan, containers: &[] });
    terminal.report(&Event::Finished { updated: 0, unchanged: 1, took: Duration::ZERO });
    drop(terminal);
    assert_eq!(memory.contents(), "Nothing to do: 1 service is up to date.");
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let (memory, terminal) = view(80);
    let mut written = String::new();
    recorded::hostile(&mut |event| {
        terminal.report(event);
        written.push_str(&memory.moves_since_last_check());
    });
    assert!(written.contains(r"x\\x1b[2J"), "{written}");
    // The record is in Rust's notation: what is harmful would be in it as `\u{…}`, `\r` or the like.
    let plain = written.replace(r"\\", "");
    assert!(!plain.contains('\\') && !plain.contains(is_harmful), "{plain}");
}

#[test]
fn reading_the_files_leaves_no_trace() {
    let (memory, terminal) = view(80);
    terminal.report(&Event::ComposeSaid("reading"));
    assert_eq!(memory.contents(), "⠋ compose  working   0s  reading");
    let plan = Plan { services: vec![recorded::service("web")], orphans: Vec::new(), networks: BTreeMap::new() };
    terminal.report(&Event::Planned { plan: &plan, containers: &[] });
    assert_eq!(memory.contents(), "Nothing to do: 1 service is up to date.");
}

/// A terminal whose other end has hung up.
#[derive(Debug)]
struct Gone;

impl TermLike for Gone {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn write_line(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn write_str(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn clear_line(&self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_terminal_that_is_gone_does_no_harm() {
    let screen = Screen::on(Gone);
    let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
    let terminal = Terminal::on(screen, target, true, now, true);
    let mut events = 0;
    recorded::good_end(&mut |event| {
        terminal.report(event);
        events += 1;
    });
    assert!(events > 30);
}
