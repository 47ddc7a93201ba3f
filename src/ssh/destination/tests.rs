//! Destinations that are fine, those that are not, and what holds for any text at all.

use proptest::prelude::*;

use super::*;

fn parts(text: &str) -> (Option<String>, String, Option<u16>, Option<String>) {
    let destination: Destination = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let socket = destination.socket().map(|path| path.to_str().expect("it is text").to_owned());
    (destination.user().map(str::to_owned), destination.host().to_owned(), destination.port(), socket)
}

fn refusal(text: &str) -> Error {
    match text.parse::<Destination>() {
        Err(error) => error,
        Ok(destination) => panic!("{text:?} became {destination}"),
    }
}

#[test]
fn takes_what_docker_and_ssh_take() {
    type Row<'a> = (&'a str, Option<&'a str>, &'a str, Option<u16>, Option<&'a str>);
    let rows: [Row<'_>; 23] = [
        ("vps", None, "vps", None, None),
        ("ssh://vps", None, "vps", None, None),
        ("ssh://vps/", None, "vps", None, None),
        ("deploy@vps", Some("deploy"), "vps", None, None),
        ("deploy@vps:2222", Some("deploy"), "vps", Some(2222), None),
        ("ssh://u@h:22/run/x.sock", Some("u"), "h", Some(22), Some("/run/x.sock")),
        ("h/run/x.sock", None, "h", None, Some("/run/x.sock")),
        ("ssh://h//x", None, "h", None, Some("//x")),
        ("ssh://h/run/user/1000/podman/podman.sock", None, "h", None, Some("/run/user/1000/podman/podman.sock")),
        ("ssh://u%40corp@h", Some("u@corp"), "h", None, None),
        ("ssh://u@corp@h", Some("u@corp"), "h", None, None),
        ("CORP\\u@h", Some("CORP\\u"), "h", None, None),
        ("ssh://CORP%5Cu@h", Some("CORP\\u"), "h", None, None),
        ("ssh://[::1]", None, "::1", None, None),
        ("[::1]:22", None, "::1", Some(22), None),
        ("ssh://u@[2001:DB8:0:0::1]:2222/x", Some("u"), "2001:db8::1", Some(2222), Some("/x")),
        ("ssh://[fe80::1%25eth0]:22", None, "fe80::1%eth0", Some(22), None),
        ("[fe80::1%eth0]", None, "fe80::1%eth0", None, None),
        ("192.0.2.1:1", None, "192.0.2.1", Some(1), None),
        ("h:65535", None, "h", Some(65535), None),
        ("h:0022", None, "h", Some(22), None),
        ("shop_web-1.example.com.", None, "shop_web-1.example.com.", None, None),
        ("ssh://b%C3%BCcher.example", None, "bücher.example", None, None),
    ];
    for (text, user, host, port, socket) in rows {
        let wanted = (user.map(str::to_owned), host.to_owned(), port, socket.map(str::to_owned));
        assert_eq!(parts(text), wanted, "{text}");
        let again = text.parse::<Destination>().expect("as before").to_string();
        assert_eq!(parts(&again), wanted, "{text} by way of {again}");
    }
}

#[test]
fn refuses_the_rest_naming_the_part() {
    use Part::{Host, Port, Socket, User, Zone};
    let character = |part, character| Error::Character { part, character };
    let long = |part, limit| Error::Long { part, limit };
    let rows = [
        ("", Error::Empty(Host)),
        ("ssh://", Error::Empty(Host)),
        ("ssh:///run/x.sock", Error::Empty(Host)),
        ("@h", Error::Empty(User)),
        ("u@", Error::Empty(Host)),
        (":22", Error::Empty(Host)),
        ("h:", Error::Empty(Port)),
        ("[::1]:", Error::Empty(Port)),
        ("[fe80::1%]", Error::Empty(Zone)),
        ("[fe80::1%25]", Error::Empty(Zone)),
        ("tcp://h", Error::Scheme),
        ("SSH://h", Error::Scheme),
        ("ssh://ssh://h", Error::Empty(Port)),
        ("u:secret@h", Error::Password),
        ("u:@h", Error::Password),
        ("h?x", Error::Query),
        ("h/run?x#y", Error::Query),
        ("h#x?y", Error::Fragment),
        ("-oProxyCommand=id", Error::Option(Host)),
        ("ssh://-oProxyCommand=id", Error::Option(Host)),
        ("u@-oProxyCommand=id", Error::Option(Host)),
        ("-oProxyCommand=id@h", Error::Option(User)),
        ("%2doProxyCommand@h", Error::Option(User)),
        ("h%2f", character(Host, '/')),
        ("h%zz", character(Host, '%')),
        ("%h", character(Host, '%')),
        ("h%00", character(Host, '\0')),
        ("h\0", character(Host, '\0')),
        ("h\n", character(Host, '\n')),
        (" h", character(Host, ' ')),
        ("a b@h", character(User, ' ')),
        ("u\\@h", character(User, '\\')),
        ("h%ff", Error::Encoding(Host)),
        ("h:0", Error::Port),
        ("h:65536", Error::Port),
        ("h:99999999999999999999", Error::Port),
        ("h:+22", Error::Port),
        ("h:-1", Error::Port),
        ("h:22x", Error::Port),
        ("h:٣", Error::Port),
        ("::1", Error::Brackets),
        ("u@::1:22", Error::Brackets),
        ("[::1", Error::Address),
        ("[::1]x", Error::Address),
        ("[h]", Error::Address),
        ("[]", Error::Address),
        ("[1.2.3.4]", Error::Address),
        ("[fe80::1%;id]", character(Zone, ';')),
        ("[fe80::1%-x]", Error::Option(Zone)),
        ("h/run/", Error::Folder),
        ("h/run/..", Error::Folder),
        ("h/run/.", Error::Folder),
        ("h//", Error::Folder),
        ("h/a b", character(Socket, ' ')),
        ("h/a%20b", character(Socket, ' ')),
        ("h/$x", character(Socket, '$')),
    ];
    for (text, error) in rows {
        assert_eq!(refusal(text), error, "{text:?}");
    }
    assert_eq!(refusal(&"h".repeat(1 << 16)), long(Host, 255));
    assert_eq!(refusal(&format!("{}@h", "u".repeat(256))), long(User, 255));
    assert_eq!(refusal(&format!("h/{}", "x".repeat(103))), long(Socket, 103));
    assert_eq!(refusal(&format!("h:{}", "9".repeat(1 << 16))), Error::Port);
}

/// What a shell, ssh or a terminal gives a meaning to; tried in each place of a destination.
const HOSTILE: &[&str] = &[
    "-oProxyCommand=id",
    "-",
    "--",
    "-F/dev/null",
    "$(id)",
    "${HOME}",
    "$HOME",
    "`id`",
    ";id",
    "|id",
    "&id",
    "&&id",
    ">x",
    "<x",
    "(id)",
    "{id}",
    "'",
    "\"",
    "\n",
    "\r\nid",
    "\t",
    " ",
    " -oProxyCommand=id",
    "\0",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{9b}31m",
    "\u{202e}",
    "\u{feff}",
    "\u{a0}",
    "\u{2028}",
    "*",
    "?",
    "!",
    "~",
    "#",
    "%",
    "%h",
    "%n",
    "%p",
    "%r",
    "%%",
    "%0a",
    "%00",
    "%24%28id%29",
    "%2d",
    "%c0%af",
    "[",
    "]",
    "^",
    "=",
    ",",
    "\\",
    "\\\\",
];

#[test]
fn nothing_hostile_gets_into_any_part() {
    for hostile in HOSTILE {
        for text in [
            (*hostile).to_owned(),
            format!("{hostile}@h"),
            format!("u{hostile}@h"),
            format!("u@{hostile}"),
            format!("u@h{hostile}"),
            format!("h:{hostile}"),
            format!("h:22{hostile}"),
            format!("[fe80::1%{hostile}]"),
            format!("[::1{hostile}]:22"),
            format!("h/run/{hostile}.sock"),
            format!("{hostile}://h"),
            format!("ssh://{hostile}"),
        ] {
            if let Ok(destination) = text.parse() {
                assert_harmless(&destination);
            }
        }
    }
}

/// What the rest of kerek, ssh and shells rely on.
fn assert_harmless(destination: &Destination) {
    let socket = destination.socket().map(|path| path.to_str().expect("it is text"));
    for part in [destination.user(), Some(destination.host()), socket].into_iter().flatten() {
        assert!(!part.is_empty() && !part.starts_with('-'), "{destination:?}");
        let bad = |character: char| {
            character.is_whitespace() || character.is_control() || "'\"`$;&|<>(){}[]*?!~#^".contains(character)
        };
        assert!(!part.contains(bad), "{destination:?}");
        assert!(!part.ends_with('\\'), "{destination:?}");
    }
    assert_ne!(destination.port(), Some(0));
    assert!(socket.is_none_or(|socket| socket.starts_with('/')), "{destination:?}");
    let text = destination.to_string();
    assert_eq!(text.parse().as_ref(), Ok(destination), "{text}");
}

/// Texts made of what destinations are made of, and of what they must not be made of.
fn assembled() -> impl Strategy<Value = String> {
    let plain = ["ssh://", "@", ":", "/", "[", "]", "%", "25", "22", "65536", "u", "h", "::1", ".", "ä", "\\"];
    let words: Vec<&str> = plain.iter().chain(HOSTILE).copied().collect();
    proptest::collection::vec(proptest::sample::select(words), 0..10).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_accepted_is_harmless_and_survives_its_text_form(text in prop_oneof![assembled(), "\\PC*", ".*"]) {
        if let Ok(destination) = text.parse() {
            assert_harmless(&destination);
        }
    }

    #[test]
    fn any_sound_destination_is_accepted(
        user in proptest::option::of("[a-zA-Z0-9_][a-zA-Z0-9._+@-]{0,30}"),
        host in "[a-zA-Z0-9][a-zA-Z0-9._+-]{0,60}",
        port in proptest::option::of(1..=u16::MAX),
        socket in proptest::option::of("(/[a-z0-9]{1,8}){1,5}[.]sock"),
        scheme in proptest::bool::ANY,
    ) {
        let text = format!(
            "{}{}{host}{}{}",
            if scheme { "ssh://" } else { "" },
            user.as_ref().map(|user| format!("{user}@")).unwrap_or_default(),
            port.map(|port| format!(":{port}")).unwrap_or_default(),
            socket.as_deref().unwrap_or_default(),
        );
        prop_assert_eq!(parts(&text), (user, host, port, socket));
    }
}
