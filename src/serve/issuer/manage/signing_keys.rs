//! `/signing-keys`: the keys that sign access tokens.
//!
//! Never shows a private key.

use http::Method;
use serde_json::{Value, json};

use crate::base::clock::UnixTime;
use crate::issue::intent::signing_keys::KeyChange;
use crate::issue::rows::Id;
use crate::serve::issuer::keys::{KeyRow, KeysError};
use crate::serve::issuer::manage::list::Asked;
use crate::serve::issuer::manage::reply::{Answer, Refused, created, ok, wrong_method};
use crate::serve::issuer::manage::{Call, Manager, not_found};

impl Manager {
    pub(super) async fn signing_keys(&self, call: Call<'_>, path: &[&str]) -> Answer {
        match (path, call.method) {
            ([], &Method::GET) => {
                Asked::read(call.query, &[])?;
                ok(self.listed_keys())
            }
            ([], &Method::POST) => {
                self.change_keys(KeyChange::Rotate).await?;
                created(self.listed_keys())
            }
            ([kid], &Method::DELETE) | ([kid, "retire"], &Method::POST) => {
                self.change_keys(KeyChange::Retire(Id::from(*kid))).await?;
                ok(self.listed_keys())
            }
            ([], _) => Err(wrong_method("GET, HEAD, POST")),
            ([_], _) => Err(wrong_method("DELETE")),
            ([_, "retire"], _) => Err(wrong_method("POST")),
            _ => Err(not_found()),
        }
    }

    async fn change_keys(&self, change: KeyChange) -> Result<(), Refused> {
        let rules = &self.settings.rotation;
        Ok(self.keys.change_for(&self.store, change, rules, &self.caller).await.map(drop)?)
    }

    /// Every published key: they are few, so the list has one page.
    fn listed_keys(&self) -> Value {
        let keys: Vec<_> = self.keys.list().iter().map(show).collect();
        json!({ "signing_keys": keys, "next": null })
    }
}

impl From<KeysError> for Refused {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Refused(refusal) => Self::from(&refusal),
            KeysError::NotStored(error) => Self::from(error),
            KeysError::Generation(_) => Self::fault(error.to_string()),
        }
    }
}

fn show(key: &KeyRow) -> Value {
    json!({
        "kid": key.kid, "algorithm": key.algorithm, "state": key.stage.as_str(),
        "time": UnixTime(key.at).to_string(),
    })
}
