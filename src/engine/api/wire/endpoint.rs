//! A container's place in a network: as it is told, and as it is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{non_empty, whole_number};
use crate::engine::Attachment;
use crate::names::ContainerId;

/// An endpoint as `inspect` shows it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Endpoint {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<IpamConfig>,
    links: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    driver_opts: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "whole_number")]
    gw_priority: i64,
    #[serde(rename = "IPAddress")]
    ip_address: Option<String>,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: Option<String>,
    mac_address: Option<String>,
}

/// Addresses that were asked for, in both directions.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct IpamConfig {
    #[serde(rename = "IPv4Address", skip_serializing_if = "Option::is_none")]
    ipv4_address: Option<String>,
    #[serde(rename = "IPv6Address", skip_serializing_if = "Option::is_none")]
    ipv6_address: Option<String>,
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
    link_local_ips: Option<Vec<String>>,
}

impl Endpoint {
    pub(super) fn into_attachment(self, id: &ContainerId) -> Attachment {
        let ipam_config = self.ipam_config.unwrap_or_default();
        // Docker before API 1.45, and podman, list the short ID, which they add by themselves.
        let aliases = self.aliases.unwrap_or_default();
        let aliases = aliases.into_iter().filter(|alias| alias != id.short()).collect();
        Attachment {
            aliases,
            links: self.links.unwrap_or_default(),
            ipv4_address: non_empty(ipam_config.ipv4_address),
            ipv6_address: non_empty(ipam_config.ipv6_address),
            link_local_addresses: ipam_config.link_local_ips.unwrap_or_default(),
            driver_options: self.driver_opts.unwrap_or_default(),
            gateway_priority: self.gw_priority,
            address: non_empty(self.ip_address).or(self.global_ipv6_address).unwrap_or_default(),
            hardware_address: self.mac_address.unwrap_or_default(),
        }
    }
}

/// The body of `POST /networks/{name}/connect`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::engine::api) struct Connect<'a> {
    container: &'a str,
    endpoint_config: EndpointConfig<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EndpointConfig<'a> {
    aliases: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    links: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    driver_opts: &'a BTreeMap<String, String>,
    gw_priority: i64,
    #[serde(rename = "IPAMConfig", skip_serializing_if = "Option::is_none")]
    ipam_config: Option<IpamConfig>,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac_address: &'a str,
}

/// The body of `POST /networks/{name}/disconnect`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::engine::api) struct Disconnect<'a> {
    pub(in crate::engine::api) container: &'a str,
}

impl<'a> Connect<'a> {
    /// Asks for an endpoint with the settings of `attachment`. With `keep_address`, the address it had is asked for
    /// too where none is configured: podman hands out another one else, while Docker hands out the same one again but
    /// refuses to be asked for it on networks without a subnet of the user's own. The same goes for the hardware address,
    /// which Docker ignores (28.5): others need not learn it anew then. Docker tells them several times, podman once, and
    /// who has missed that sends to nobody for seconds.
    pub(in crate::engine::api) fn new(id: &'a ContainerId, attachment: &'a Attachment, keep_address: bool) -> Self {
        let mut ipam_config = IpamConfig {
            ipv4_address: attachment.ipv4_address.clone(),
            ipv6_address: attachment.ipv6_address.clone(),
            link_local_ips: some_unless_empty(&attachment.link_local_addresses),
        };
        if keep_address && ipam_config == IpamConfig::default() {
            let address = Some(attachment.address.clone());
            match attachment.address.parse() {
                Ok(std::net::IpAddr::V4(_)) => ipam_config.ipv4_address = address,
                Ok(std::net::IpAddr::V6(_)) => ipam_config.ipv6_address = address,
                Err(_) => {}
            }
        }
        Self {
            container: id.as_str(),
            endpoint_config: EndpointConfig {
                aliases: &attachment.aliases,
                links: &attachment.links,
                driver_opts: &attachment.driver_options,
                gw_priority: attachment.gateway_priority,
                ipam_config: (ipam_config != IpamConfig::default()).then_some(ipam_config),
                mac_address: if keep_address { &attachment.hardware_address } else { "" },
            },
        }
    }
}

fn some_unless_empty(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn asks_for_an_endpoint_like_the_one_there_was() {
        let id = ContainerId::new("c1");
        let body = |attachment: &Attachment, keep_address| {
            serde_json::to_value(Connect::new(&id, attachment, keep_address)).expect("JSON")
        };
        let mut attachment = Attachment {
            aliases: vec!["web".to_owned()],
            links: vec!["db:database".to_owned()],
            driver_options: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            gateway_priority: -3,
            address: "10.0.0.5".to_owned(),
            hardware_address: "02:42:0a:00:00:05".to_owned(),
            ..Attachment::default()
        };
        let mut expected = json!({"Container": "c1", "EndpointConfig": {
            "Aliases": ["web"], "Links": ["db:database"], "DriverOpts": {"a": "b"}, "GwPriority": -3,
        }});
        assert_eq!(body(&attachment, false), expected);

        expected["EndpointConfig"]["IPAMConfig"] = json!({"IPv4Address": "10.0.0.5"});
        expected["EndpointConfig"]["MacAddress"] = json!("02:42:0a:00:00:05");
        assert_eq!(body(&attachment, true), expected);
        attachment.hardware_address = String::new();
        expected["EndpointConfig"].as_object_mut().and_then(|config| config.remove("MacAddress"));
        attachment.address = "fd00::5".to_owned();
        expected["EndpointConfig"]["IPAMConfig"] = json!({"IPv6Address": "fd00::5"});
        assert_eq!(body(&attachment, true), expected);

        attachment.ipv4_address = Some("10.0.0.9".to_owned());
        attachment.link_local_addresses = vec!["169.254.1.1".to_owned()];
        expected["EndpointConfig"]["IPAMConfig"] = json!({"IPv4Address": "10.0.0.9", "LinkLocalIPs": ["169.254.1.1"]});
        assert_eq!(body(&attachment, false), expected);
        assert_eq!(body(&attachment, true), expected);
    }
}
