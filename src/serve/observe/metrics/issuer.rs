//! The series of the issuer and its store.
//!
//! Owns the series of the contract's section on the issuer. Labels are
//! names of intents, kinds and states: closed sets. Never a person, an application or a token.

use prometheus::IntCounterVec;

use crate::decide::live::{Kind, Live, State};
use crate::issue::rows::KeyStage;
use crate::serve::observe::metrics::{Metrics, signed};
use crate::serve::store::StoreSeries;

/// No label.
const NONE: &[&str] = &[];

impl Metrics {
    /// The series of the store.
    pub(crate) fn store(&self) -> StoreSeries {
        let families = &self.families.issuer;
        StoreSeries {
            up: families.store_up.with_label_values(NONE),
            duration: families.store_duration.clone(),
            errors: families.store_errors.clone(),
            lag: families.store_lag.with_label_values(NONE),
            steps: families.clock_steps.with_label_values(NONE),
        }
    }

    /// `gatepost_tokens_issued_total`.
    pub(crate) fn tokens_issued(&self) -> IntCounterVec {
        let families = &self.families.issuer;
        families.tokens_issued.clone()
    }

    /// `gatepost_authorizations_total`.
    pub(crate) fn authorizations(&self) -> IntCounterVec {
        let families = &self.families.issuer;
        families.authorizations.clone()
    }

    /// `gatepost_sign_ins_total`.
    pub(crate) fn sign_ins(&self) -> IntCounterVec {
        let families = &self.families.issuer;
        families.sign_ins.clone()
    }

    /// Takes over what the issuer has at a scrape.
    pub(crate) fn issuer_has(&self, live: &Live, keys: &[KeyStage]) {
        let families = &self.families.issuer;
        let set = live.load();
        for (kind, kind_name) in [(Kind::Key, "api_key"), (Kind::Pat, "pat")] {
            for (state, name) in [(State::Active, "active"), (State::Disabled, "disabled")] {
                let count = signed(set.count(kind, state) as u64);
                families.credentials.with_label_values(&[kind_name, name]).set(count);
            }
        }
        for stage in [KeyStage::Next, KeyStage::Active, KeyStage::Retired] {
            let count = keys.iter().filter(|one| **one == stage).count();
            families.signing_keys.with_label_values(&[stage.as_str()]).set(signed(count as u64));
        }
    }
}
