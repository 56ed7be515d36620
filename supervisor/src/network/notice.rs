//! What a user should know about the network although nothing failed.

/// One thing to tell the user; `Display` is the sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// The machine forwarded no packets before.
    #[error(
        "switched on IPv4 forwarding (net.ipv4.ip_forward=1), which Pods need to reach beyond this machine; it stays on"
    )]
    ForwardingEnabled,
    /// Pods reach this machine and each other, but not the outside.
    #[error(
        "Pods cannot reach beyond this machine, because masquerading could not be set up: {reason} (install nftables, or route the Pod subnet yourself)"
    )]
    NoMasquerade {
        /// What `nft` said.
        reason: String,
    },
    /// Rules were added to iptables' FORWARD chain, whose policy is to drop.
    #[error(
        "this machine's firewall drops what it forwards, so rules that accept the Pods' traffic were added to iptables' FORWARD chain (interface {bridge}); they go with the network"
    )]
    ForwardRulesAdded {
        /// The bridge in the rules.
        bridge: String,
    },
    /// A firewall will drop the Pods' traffic.
    #[error(
        "the firewall chain \"{chain}\" drops what this machine forwards{}: Pods reach each other and the outside only if it accepts traffic from and to the interface {bridge}",
        .reason.as_ref().map(|r| format!(" and could not be changed ({r})")).unwrap_or_default()
    )]
    ForwardDropped {
        /// Family, table and name.
        chain: String,
        /// The interface to be accepted.
        bridge: String,
        /// Why rules could not be added, where that was tried.
        reason: Option<String>,
    },
}

impl Notice {
    /// False when the notice only reports what was done, true when something will not work.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Notice::NoMasquerade { .. } | Notice::ForwardDropped { .. }
        )
    }
}
