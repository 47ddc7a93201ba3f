//! What usually helps against what engines, Compose and containers complain about. They say what is wrong in their own
//! words, and rarely what to do; nothing here is needed to go on, and whatever is not known has no remedy.

/// Words that a complaint has, all of them, and what to do about it. The first one that fits counts. `{}` stands for the
/// word that follows the first of the words, as long as it is one that can be shown.
const REMEDIES: &[(&[&str], &str)] = &[
    (
        &["no configuration file provided"],
        "There is no Compose file in this folder or above it: go to the one that has it, or name the file with --file.",
    ),
    (
        &["required variable ", "is missing a value"],
        "Set {} in the environment, or in an env file: .env beside the Compose file, or another with --env-file.",
    ),
    (
        &["network ", "declared as external, but could not be found"],
        "External networks are made beforehand, on the engine that is deployed to: `docker network create {}`.",
    ),
    (
        &["external volume ", "not found"],
        "External volumes are made beforehand, on the engine that is deployed to: `docker volume create {}`.",
    ),
    (
        &["start_interval as feature require"],
        "The engine is older than Docker 25, or Podman: leave out `start_interval`, and set a short `interval`.",
    ),
    (
        &["toomanyrequests"],
        "The registry limits how often images are pulled: log in with `docker login`, or pull here and send the images \
         with --transfer-images.",
    ),
    (
        &["no matching manifest for "],
        "The image is not made for {}, which the engine runs on: build it for that with `platforms:` or \
         `docker buildx build --platform`.",
    ),
    (
        &["does not provide the specified platform"],
        "The image there is made for another platform than the Compose file asks for with `platform:`.",
    ),
    (
        &["pull access denied"],
        "The engine has no such image, and no registry gives it one: check the name, log in with `docker login`, or send \
         the image from here with --transfer-images.",
    ),
    (
        &["unauthorized"],
        "The registry wants to know who asks: `docker login` with its name, on the machine that kerek is called on.",
    ),
    (
        &["manifest unknown"],
        "The registry has no image of that name and tag: check both, or send it from here with --transfer-images.",
    ),
    (
        &["No such image"],
        "Build the image with --build, pull it with `--pull missing`, or send it from here with --transfer-images.",
    ),
    (
        &["failed to do request", "lookup "],
        "The engine cannot reach the registry: check its network and DNS, or send images from here with --transfer-images.",
    ),
    (
        &["port is already allocated"],
        "Another container publishes that port: `docker ps` shows which. Stop it, or publish another port.",
    ),
    (
        &["address already in use"],
        "Another program on the engine's host listens on that port: `ss -ltnp` there shows which. Stop it, or publish \
         another port.",
    ),
    (
        &["no space left on device"],
        "The engine's disk is full: `docker system df` shows with what, `docker system prune` removes what nothing uses.",
    ),
    (
        &["all predefined address pools have been fully subnetted"],
        "The engine has no addresses left for another network: remove unused ones with `docker network prune`.",
    ),
    (
        &["Pool overlaps with other one"],
        "The `subnet` is used by another network of the engine: choose another one, or leave it to the engine.",
    ),
    (
        &["exec format error"],
        "The program is made for another kind of processor than the engine's, or is a script that does not begin with \
         `#!`: build the image for the engine's platform.",
    ),
    (
        &["lookup init binary"],
        "`init: true` takes a program on the engine's host: install the package `catatonit` there.",
    ),
    (
        &["executable file not found"],
        "A program is called that the image does not have: check `command`, `entrypoint` and, if that is what fails, the \
         healthcheck's `test`.",
    ),
    (
        &["unable to start container process", "permission denied"],
        "The program in the image may not be run: `chmod +x` it before it is copied, or in the Dockerfile.",
    ),
    (
        &["unable to start container process", "no such file or directory"],
        "A program is called that the image does not have, or a script that names an interpreter it does not have: check \
         `command`, `entrypoint`, and the script's line ends.",
    ),
    (
        &["was killed for using too much memory"],
        "Give it more with `deploy.resources.limits.memory`, or have it use less.",
    ),
];

/// What to do about a complaint, if that is known.
#[must_use]
pub fn remedy(complaint: &str) -> Option<String> {
    let (words, remedy) = REMEDIES.iter().find(|(words, _)| words.iter().all(|word| complaint.contains(word)))?;
    Some(if remedy.contains("{}") {
        remedy.replace("{}", &next_word(complaint, words[0])?)
    } else {
        (*remedy).to_owned()
    })
}

/// The word after some others, if it is a plain one.
fn next_word(complaint: &str, before: &str) -> Option<String> {
    let (_, rest) = complaint.split_once(before)?;
    let word = rest.split_whitespace().next()?.trim_matches(['"', '\'', '`', ',', ':', '.']);
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-/".contains(character);
    (!word.is_empty() && word.len() <= 100 && word.chars().all(is_plain)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_complaints_have_a_remedy() {
        for (complaint, part) in [
            ("no configuration file provided: not found", "--file"),
            (
                "error while interpolating services.web.image: required variable TAG is missing a value: set it",
                "Set TAG in",
            ),
            ("network edge declared as external, but could not be found", "`docker network create edge`"),
            ("external volume \"data\" not found", "`docker volume create data`"),
            ("no matching manifest for linux/arm64/v8 in the manifest list entries", "linux/arm64/v8"),
            (
                "Error response from daemon: pull access denied for shop/web, repository does not exist",
                "--transfer-images",
            ),
            ("driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", "docker ps"),
            (
                "container create: lookup init binary: exec: \"catatonit\": executable file not found in $PATH",
                "catatonit",
            ),
            ("can't set healthcheck.start_interval as feature require Docker Engine v25 or later", "leave out"),
            ("exec: \"curl\": executable file not found in $PATH: unknown", "healthcheck"),
            ("write /var/lib/docker/tmp/x: no space left on device", "docker system df"),
        ] {
            let remedy = remedy(complaint).unwrap_or_default();
            assert!(remedy.contains(part), "{complaint}: {remedy}");
        }
    }

    #[test]
    fn what_is_unknown_or_hostile_has_none() {
        for complaint in
            ["", "boom", "network \u{1b}[2J declared as external, but could not be found", "external volume  not found"]
        {
            let found = remedy(complaint);
            assert!(found.as_ref().is_none_or(|remedy| !remedy.contains('\u{1b}')), "{found:?}");
        }
        assert_eq!(remedy("network $(reboot) declared as external, but could not be found"), None);
    }
}
