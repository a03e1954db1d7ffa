//! The shares of callers in the introspection requests to one issuer.
//!
//! Owns the bound on open requests and its division. An attacker would want a flood of made-up
//! tokens to take all of them: a quarter is reserved for tokens that were good before, and of the
//! rest an address gets another one only while it has fewer than are still free. So one address gets
//! at most half, the next address always finds room, and it takes dozens of addresses to use up the
//! rest. Never sends, never waits, never reads a clock.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::decide::request::address;

/// Open requests to one issuer.
pub(super) const QUESTIONS_MAX: usize = 64;
/// Of these, reserved for tokens that were good before.
const KNOWN_ONLY: usize = 16;

/// A caller, as shares count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// With a token that was good before.
    Known,
    /// With any other token, by address as limits count it. Empty for Unix peers without an address.
    Stranger(Box<[u8]>),
}

/// The open requests to one issuer. Bounded by [`QUESTIONS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Shares {
    known: usize,
    strangers: usize,
    by_address: HashMap<Box<[u8]>, usize>,
}

impl Caller {
    pub(super) fn of(address: Option<IpAddr>, is_known: bool) -> Self {
        if is_known {
            return Self::Known;
        }
        let bytes = address.map(address::limit_bytes).unwrap_or_default();
        Self::Stranger(bytes.into())
    }
}

impl Shares {
    /// Takes one more request, if the share of this caller allows it.
    pub(super) fn take(&mut self, caller: &Caller) -> bool {
        let left = QUESTIONS_MAX - self.known - self.strangers;
        match caller {
            Caller::Known if left == 0 => return false,
            Caller::Known => self.known += 1,
            Caller::Stranger(address) => {
                let free = left.min((QUESTIONS_MAX - KNOWN_ONLY).saturating_sub(self.strangers));
                let own = self.by_address.get(address).copied().unwrap_or(0);
                if own >= free {
                    return false;
                }
                self.by_address.insert(address.clone(), own + 1);
                self.strangers += 1;
            }
        }
        true
    }

    /// Gives back what [`Self::take`] gave.
    pub(super) fn give_back(&mut self, caller: &Caller) {
        match caller {
            Caller::Known => self.known -= 1,
            Caller::Stranger(address) => {
                self.strangers -= 1;
                if let Some(own) = self.by_address.get_mut(address) {
                    *own -= 1;
                    if *own == 0 {
                        self.by_address.remove(address);
                    }
                }
            }
        }
    }

    /// Returns whether no request is open.
    pub(super) fn is_empty(&self) -> bool {
        self.known + self.strangers == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(address: &str) -> Caller {
        Caller::of(Some(address.parse().unwrap()), false)
    }

    /// The number of requests that a flood gets.
    fn flood(shares: &mut Shares, caller: &Caller) -> usize {
        (0..1_000).filter(|_| shares.take(caller)).count()
    }

    #[test]
    fn r1005_a_flood_of_unknown_tokens_leaves_others_their_turn() {
        let mut shares = Shares::default();
        assert_eq!(flood(&mut shares, &from("203.0.113.1")), 24, "half of what is not kept");
        assert_eq!(flood(&mut shares, &from("203.0.113.1")), 0);
        assert!(shares.take(&from("203.0.113.2")), "another address");
        assert!(shares.take(&Caller::of(None, false)), "a Unix peer");
        for host in 3..40 {
            flood(&mut shares, &from(&format!("203.0.113.{host}")));
        }
        // However many there are, tokens that were good before have theirs.
        assert!(!shares.take(&from("198.51.100.1")));
        assert_eq!(flood(&mut shares, &Caller::Known), 16);
        assert!(!shares.take(&Caller::Known));
        // What is given back is there again.
        shares.give_back(&from("203.0.113.2"));
        assert!(shares.take(&from("198.51.100.1")));
    }

    #[test]
    fn r1005_the_addresses_of_one_network_are_one() {
        let mut shares = Shares::default();
        assert_eq!(flood(&mut shares, &from("2001:db8::1")), 24);
        assert_eq!(flood(&mut shares, &from("2001:db8::ffff:2")), 0);
        assert!(shares.take(&from("2001:db8:0:1::1")));
        let mut shares = Shares::default();
        flood(&mut shares, &from("203.0.113.1"));
        assert!(!shares.take(&from("::ffff:203.0.113.1")));
        // Alone, tokens that were good before may have everything.
        let mut shares = Shares::default();
        assert_eq!(flood(&mut shares, &Caller::Known), QUESTIONS_MAX);
        assert!(!shares.take(&from("203.0.113.1")));
    }

    proptest! {
        #[test]
        fn r801_never_more_than_the_bound_and_nothing_is_left_behind(
            steps in prop::collection::vec((0_u8..6, any::<bool>()), 0..400),
        ) {
            let mut shares = Shares::default();
            let mut open: Vec<Caller> = Vec::new();
            for (who, gives_back) in steps {
                if gives_back && !open.is_empty() {
                    shares.give_back(&open.swap_remove(usize::from(who) % open.len()));
                } else {
                    let caller =
                        if who == 0 { Caller::Known } else { from(&format!("203.0.113.{who}")) };
                    if shares.take(&caller) {
                        open.push(caller);
                    }
                }
                prop_assert_eq!(shares.known + shares.strangers, open.len());
                prop_assert!(open.len() <= QUESTIONS_MAX);
                prop_assert!(shares.strangers <= QUESTIONS_MAX - KNOWN_ONLY);
            }
            for caller in open {
                shares.give_back(&caller);
            }
            prop_assert!(shares.is_empty() && shares.by_address.is_empty());
        }
    }
}
