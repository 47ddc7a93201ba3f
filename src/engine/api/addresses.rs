//! Addresses that Docker must not give away for a moment.
//!
//! Docker gives a container that is connected the lowest address that is free, and takes no wish unless the network's
//! subnet was configured. So that a container which is connected anew gets its own address again, all lower ones have to be
//! taken. A *holder* takes one: a container of a tiny image that sleeps for some seconds and then removes itself, so that
//! none is left even by a run that is killed. Podman gives the address that it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::wire::Created;
use super::{Api, escape, unless_status};
use crate::engine::{Engine as _, Result};
use crate::names::{ContainerId, NetworkName};

/// The image of holders.
const IMAGE: &str = "kerek-holder";
/// How often it is imported for a holder: another run that is done with it may remove it right then.
const IMPORTS: usize = 3;
/// The program in it.
const PROGRAM: &str = "hold";
/// No more addresses are held: who has so many that are free has more than a few gaps.
const MOST: usize = 16;

/// Seconds that a holder stays by itself: more than it takes to connect a container, even far away.
const SECONDS: u8 = 20;

impl Api {
    /// Takes all addresses of a network that are free and lower than one. Returns what holds them.
    pub(super) async fn hold_addresses_below(&self, network: &NetworkName, address: &str) -> Result<Vec<ContainerId>> {
        let mut holders = Vec::new();
        let Ok(address) = address.parse() else { return Ok(holders) };
        if self.podman {
            return Ok(holders);
        }
        let gaps = self.network(network).await?.map_or(0, |network| network.free_below(address).count());
        if gaps == 0 || gaps > MOST {
            return Ok(holders);
        }
        for _ in 0..gaps {
            match self.holder(network).await {
                Ok(Some(holder)) => holders.push(holder),
                // Better a few than none: then at least these are not given away.
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!("{error}");
                    break;
                }
            }
        }
        Ok(holders)
    }

    /// Gives addresses free again.
    pub(super) async fn release_addresses(&self, holders: &[ContainerId]) -> Result<()> {
        for holder in holders {
            self.remove(holder, true).await?;
        }
        let path = self.path(&format!("/images/{}", escape(&format!("{IMAGE}:latest"))));
        let removed = self.http.delete("remove the image of address holders", &path).await?;
        // Another run may use it.
        unless_status(removed, &[StatusCode::NOT_FOUND, StatusCode::CONFLICT])
    }

    /// Starts a holder; `None` if there is no program for the engine's machine.
    async fn holder(&self, network: &NetworkName) -> Result<Option<ContainerId>> {
        let call = format!("hold an address of network {network}");
        let body = json!({
            "Image": format!("{IMAGE}:latest"),
            "Cmd": [format!("/{PROGRAM}")],
            "HostConfig": {
                "NetworkMode": network.as_str(),
                "AutoRemove": true,
                "ReadonlyRootfs": true,
                "CapDrop": ["ALL"],
                "LogConfig": { "Type": "none" },
            },
        });
        let path = self.path("/containers/create");
        let mut answer = self.http.post_json(&call, &path, &body).await?;
        for _ in 0..IMPORTS {
            if answer.status != StatusCode::NOT_FOUND {
                break;
            }
            let Some(archive) = self.architecture().await?.as_deref().and_then(archive) else { return Ok(None) };
            let import = self.path(&format!("/images/create?fromSrc=-&repo={IMAGE}&tag=latest"));
            unless_status(self.http.post_archive(&call, &import, archive).await?, &[])?;
            answer = self.http.post_json(&call, &path, &body).await?;
        }
        let created: Created = answer.accepted()?.json()?;
        let holder = ContainerId::new(created.id);
        if let Err(error) = self.start(&holder).await {
            self.remove(&holder, true).await?;
            return Err(error);
        }
        Ok(Some(holder))
    }

    async fn architecture(&self) -> Result<Option<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Version {
            arch: Option<String>,
        }

        let call = "ask for the engine's architecture";
        let version: Version = self.http.get(call, &self.path("/version")).await?.accepted()?.json()?;
        Ok(version.arch)
    }

    async fn network(&self, network: &NetworkName) -> Result<Option<Network>> {
        let call = format!("inspect network {network}");
        let answer = self.http.get(&call, &self.path(&format!("/networks/{}", escape(network.as_str())))).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { answer.accepted()?.json().map(Some) }
    }
}

/// What Docker tells of a network. All raw.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    #[serde(rename = "IPAM")]
    management: Management,
    containers: Option<BTreeMap<String, Endpoint>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Management {
    config: Option<Vec<Pool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pool {
    subnet: Option<String>,
    #[serde(rename = "IPRange")]
    range: Option<String>,
    gateway: Option<String>,
    auxiliary_addresses: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    #[serde(rename = "IPv4Address")]
    address: String,
}

impl Network {
    /// The addresses that Docker would give away before it gives away this one.
    fn free_below(&self, address: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
        let pool = self.management.config.iter().flatten().find_map(|pool| {
            let (first, last) =
                prefix(pool.range.as_deref().filter(|range| !range.is_empty()).or(pool.subnet.as_deref())?)?;
            (first..=last).contains(&u32::from(address)).then_some((pool, first))
        });
        let containers = self.containers.iter().flatten();
        let used = containers.filter_map(|(_, endpoint)| endpoint.address.split('/').next()?.parse::<Ipv4Addr>().ok());
        let reserved = pool.iter().flat_map(|(pool, _)| {
            pool.gateway.iter().chain(pool.auxiliary_addresses.iter().flat_map(BTreeMap::values))
        });
        let reserved = reserved.filter_map(|address| address.parse().ok());
        let taken: BTreeSet<_> = used.chain(reserved).map(u32::from).collect();
        // The first of all is the network's own; where there is a range within, Docker gives it away.
        let first = pool.map_or(u32::from(address), |(pool, first)| {
            let own = pool.subnet.as_deref().and_then(prefix).is_some_and(|(subnet, _)| subnet == first);
            first.saturating_add(u32::from(own))
        });
        (first..u32::from(address)).filter(move |it| !taken.contains(it)).map(Ipv4Addr::from).take(MOST + 1)
    }
}

/// The first and the last address of a prefix such as `172.18.0.0/16`.
fn prefix(text: &str) -> Option<(u32, u32)> {
    let (address, length) = text.split_once('/')?;
    let length: u32 = length.parse().ok().filter(|length| *length <= 32)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    let first = u32::from(address.parse::<Ipv4Addr>().ok()?) & mask;
    Some((first, first | !mask))
}

/// An archive with nothing but the program, for one of Docker's architectures.
fn archive(architecture: &str) -> Option<Vec<u8>> {
    let program = program(architecture)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, PROGRAM, program.as_slice()).ok()?;
    archive.into_inner().ok()
}

/// A program that sleeps for [`SECONDS`] and ends: an ELF file with a header, one segment, and a dozen instructions.
fn program(architecture: &str) -> Option<Vec<u8>> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u16 = 64 + 56;
    let (machine, code): (u16, Vec<u8>) = match architecture {
        "amd64" => (62, amd64().to_vec()),
        "arm64" => (183, arm64().iter().flat_map(|instruction| instruction.to_le_bytes()).collect()),
        _ => return None,
    };
    let size = u64::from(HEADERS) + code.len() as u64;
    let entry = BASE + u64::from(HEADERS);
    // 64 bits, little-endian, of the current version, for any system.
    let mut program = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    program.extend([2, machine].into_iter().flat_map(u16::to_le_bytes));
    program.extend(1_u32.to_le_bytes());
    program.extend([entry, 64, 0].into_iter().flat_map(u64::to_le_bytes));
    program.extend(0_u32.to_le_bytes());
    program.extend([64, 56, 1, 0, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    // The segment: all of the file, to be read and executed.
    program.extend([1, 5].into_iter().flat_map(u32::to_le_bytes));
    program.extend([0, BASE, BASE, size, size, 0x1000].into_iter().flat_map(u64::to_le_bytes));
    program.extend(code);
    Some(program)
}

/// `nanosleep({SECONDS, 0}, NULL); exit(0)`.
fn amd64() -> [u8; 26] {
    [
        0x6a, 0, // push 0
        0x6a, SECONDS, // push SECONDS
        0x48, 0x89, 0xe7, // mov rdi, rsp
        0x31, 0xf6, // xor esi, esi
        0xb8, 35, 0, 0, 0, // mov eax, nanosleep
        0x0f, 0x05, // syscall
        0xb8, 60, 0, 0, 0, // mov eax, exit
        0x31, 0xff, // xor edi, edi
        0x0f, 0x05, // syscall
        0x90, // nop
    ]
}

/// The same.
fn arm64() -> [u32; 10] {
    [
        0xd100_43ff,                             // sub sp, sp, #16
        0xd280_0009 | (u32::from(SECONDS) << 5), // mov x9, SECONDS
        0xa900_7fe9,                             // stp x9, xzr, [sp]
        0x9100_03e0,                             // mov x0, sp
        0xd280_0001,                             // mov x1, #0
        0xd280_0ca8,                             // mov x8, nanosleep
        0xd400_0001,                             // svc #0
        0xd280_0000,                             // mov x0, #0
        0xd280_0ba8,                             // mov x8, exit
        0xd400_0001,                             // svc #0
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(range: &str, used: &[&str]) -> Network {
        let containers: serde_json::Map<_, _> =
            used.iter().map(|address| ((*address).to_owned(), json!({ "IPv4Address": address }))).collect();
        let pool = json!({
            "Subnet": "172.18.0.0/16",
            "IPRange": range,
            "Gateway": "172.18.0.1",
            "AuxiliaryAddresses": {"printer": "172.18.0.5"},
        });
        serde_json::from_value(json!({ "IPAM": {"Config": [pool]}, "Containers": containers })).expect("a network")
    }

    fn free(network: &Network, address: &str) -> Vec<String> {
        let address = address.parse().expect("an address");
        network.free_below(address).map(|address| address.to_string()).collect()
    }

    #[test]
    fn what_is_lower_and_not_taken_is_free() {
        let used = ["172.18.0.3/16", "172.18.0.4/16", "172.18.0.8/16", ""];
        assert_eq!(free(&network("", &used), "172.18.0.8"), ["172.18.0.2", "172.18.0.6", "172.18.0.7"]);
        assert_eq!(free(&network("", &["172.18.0.2/16"]), "172.18.0.3"), [] as [&str; 0]);
        assert_eq!(free(&network("172.18.4.0/24", &used), "172.18.4.2"), ["172.18.4.0", "172.18.4.1"]);
    }

    #[test]
    fn nobody_counts_to_the_end_of_a_large_network() {
        assert_eq!(free(&network("", &[]), "172.18.255.254").len(), MOST + 1);
    }

    #[test]
    fn what_makes_no_sense_has_no_gaps() {
        let address = "172.18.0.8".parse().expect("an address");
        for text in ["{}", r#"{"IPAM": {}}"#, r#"{"IPAM": {"Config": null}, "Containers": null}"#] {
            let network: Network = serde_json::from_str(text).expect("a network");
            assert_eq!(network.free_below(address).count(), 0, "{text}");
        }
        for subnet in ["172.18.0.0", "x/16", "172.18.0.0/33", "fd00::/64", "10.0.0.0/8"] {
            let network: Network =
                serde_json::from_value(json!({"IPAM": {"Config": [{"Subnet": subnet}]}})).expect("one");
            assert_eq!(network.free_below(address).count(), 0, "{subnet}");
        }
    }

    #[test]
    fn prefixes_have_ends() {
        assert_eq!(prefix("0.0.0.0/0"), Some((0, u32::MAX)));
        assert_eq!(prefix("10.0.0.7/32"), Some((0x0a00_0007, 0x0a00_0007)));
        assert_eq!(prefix("10.1.2.3/24"), Some((0x0a01_0200, 0x0a01_02ff)));
    }

    #[test]
    fn programs_are_whole() {
        for architecture in ["amd64", "arm64"] {
            let program = program(architecture).expect("a program");
            let size = u64::from_le_bytes(program[96..104].try_into().expect("eight bytes"));
            assert_eq!(size, program.len() as u64, "{architecture}");
        }
        assert_eq!(program("s390x"), None);
    }
}
