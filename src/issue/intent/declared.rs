//! Applications that the configuration declares.
//!
//! Owns their rows and secrets: a declared application is as the configuration says, an application
//! that is no longer declared gets no tokens and its tokens are refused until it is declared again.
//! Nothing is deleted. Ids tell them apart: those of other applications are generated. Never reads a
//! file: secrets come as digests.

use std::collections::HashSet;

use crate::base::clock::UnixTime;
use crate::issue::intent::applications::{SECRETS_MAX, is_declared};
use crate::issue::intent::credentials::NewSecret;
use crate::issue::intent::{
    Act, Decision, Intent, Limit, Need, Refusal, Rows, Target, Thing, refuse,
};
use crate::issue::rows::{Application, Id, Secret};

/// Puts one declared application into the store.
#[derive(Clone, Debug)]
pub struct DeclareApplication {
    /// The row as it is declared, with the generation of a new one.
    pub application: Application,
    /// The secrets that its files have, at most two; the ids are those of new ones.
    pub secrets: Vec<NewSecret>,
}

impl Intent for DeclareApplication {
    type Answer = Application;
    const NAME: &'static str = "declare_application";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Application>, Need> {
        if self.secrets.len() > SECRETS_MAX {
            let (thing, of) = (Thing::Secret, Thing::Application);
            return refuse(Refusal::Limit(Limit { thing, most: SECRETS_MAX, of }));
        }
        let known = rows.get::<Application>(&self.application.id)?;
        let row = self.row(known.as_ref(), now);
        let secrets = self.secrets(&rows.all::<Secret>("application", &row.id)?, now);
        let decision = Decision::ok(row.clone());
        if known.as_ref() == Some(&row) && secrets.is_empty() {
            return Ok(decision);
        }
        let act = Act::new("application.declare").application(&row.id);
        Ok(decision.write(&row).write_all(&secrets).act(act))
    }
}

impl DeclareApplication {
    /// The row of an application that was known before keeps its generation, so that its tokens
    /// stay; one that was deleted gets a new one.
    fn row(&self, known: Option<&Application>, now: UnixTime) -> Application {
        let live = known.filter(|row| row.ended.is_none());
        let declared = self.application.clone();
        Application {
            generation: live.map_or(declared.generation, |row| row.generation.clone()),
            created: live.map_or(now, |row| row.created),
            approved: live.map_or(Some(now), |row| row.approved),
            disabled: None,
            ended: None,
            ..declared
        }
    }

    /// The secrets that change: those of the files are good, all others end.
    fn secrets(&self, known: &[Secret], now: UnixTime) -> Vec<Secret> {
        let is_good = |row: &Secret| row.ends.is_none_or(|end| now < end);
        let mut changed = Vec::new();
        for row in known {
            let is_declared = self.secrets.iter().any(|secret| secret.digest == row.digest);
            let ends = match (is_declared, is_good(row)) {
                (true, false) => None,
                (false, true) => Some(now),
                (true, true) | (false, false) => continue,
            };
            changed.push(Secret { ends, ..row.clone() });
        }
        let is_new = |secret: &&NewSecret| !known.iter().any(|row| row.digest == secret.digest);
        changed.extend(self.secrets.iter().filter(is_new).map(|secret| Secret {
            id: secret.id.clone(),
            application: self.application.id.clone(),
            digest: secret.digest,
            sealed: None,
            created: now,
            ends: None,
        }));
        changed
    }
}

/// Disables every application that was declared and is not any more.
#[derive(Clone, Debug)]
pub struct KeepDeclared {
    /// The declared ids.
    pub declared: HashSet<Id>,
}

impl Intent for KeepDeclared {
    type Answer = usize;
    const NAME: &'static str = "keep_declared";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<usize>, Need> {
        let mut gone = rows.live::<Application>("owner", &None::<Id>)?;
        gone.retain(|row| is_declared(row) && !self.declared.contains(&row.id));
        gone.iter_mut().for_each(|row| row.disabled = Some(now));
        let acts = gone.iter().map(|row| Act::new("application.undeclare").application(&row.id));
        let decision = Decision::ok(gone.len()).write_all(&gone);
        let targets = gone.iter().map(|row| Target::Application(row.id.clone()));
        let decision = targets.fold(decision, Decision::target);
        Ok(acts.fold(decision, Decision::act))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::intent::client::Authenticate;
    use crate::issue::intent::client::Client;
    use crate::issue::intent::memory::Memory;
    use crate::issue::rows::{Profile, SecretDigest, Words};

    fn declare(generation: &str, secrets: &[&str]) -> DeclareApplication {
        let secret = |text: &&str| NewSecret {
            id: Id::from(&*format!("sec_{text}_{generation}")),
            digest: SecretDigest::of_secret(text),
            hint: "".into(),
        };
        let application = Application {
            id: Id::from("shop"),
            owner: None,
            name: "Shop".into(),
            site: None,
            confidential: true,
            profile: Profile::Strict,
            redirect_uris: Words::default(),
            grants: Words::default(),
            scopes: None,
            first_party: false,
            introspect: false,
            access_lifetime: None,
            plugin: None,
            approved: None,
            generation: Id::from(generation),
            created: UnixTime(0),
            disabled: None,
            ended: None,
        };
        DeclareApplication { application, secrets: secrets.iter().map(secret).collect() }
    }

    fn is_good(store: &mut Memory, secret: &str, now: u64) -> bool {
        let client = Client { id: Id::from("shop"), secret: Some(SecretDigest::of_secret(secret)) };
        store.run(&Authenticate { client }, UnixTime(now)).is_ok()
    }

    #[test]
    fn contract_declared_applications_have_the_secrets_of_their_files() {
        let mut store = Memory::default();
        store.run(&declare("gr_1", &["a"]), UnixTime(1)).unwrap();
        assert!(is_good(&mut store, "a", 1) && !is_good(&mut store, "b", 1));
        // The same again writes nothing; the generation stays.
        let acts = store.acts.len();
        let row = store.run(&declare("gr_2", &["a"]), UnixTime(2)).unwrap();
        assert_eq!((store.acts.len(), row.generation.as_str()), (acts, "gr_1"));
        store.run(&declare("gr_3", &["a", "b"]), UnixTime(3)).unwrap();
        assert!(is_good(&mut store, "a", 3) && is_good(&mut store, "b", 3));
        store.run(&declare("gr_4", &["b"]), UnixTime(4)).unwrap();
        assert!(!is_good(&mut store, "a", 4) && is_good(&mut store, "b", 4));
        // A file that is put back.
        store.run(&declare("gr_5", &["a"]), UnixTime(5)).unwrap();
        assert!(is_good(&mut store, "a", 5) && !is_good(&mut store, "b", 5));
        let three = store.run(&declare("gr_6", &["a", "b", "c"]), UnixTime(6));
        assert!(matches!(three, Err(Refusal::Limit(_))));
    }

    #[test]
    fn contract_declared_what_is_not_declared_is_refused_until_it_is_again() {
        let mut store = Memory::default();
        store.run(&declare("gr_1", &["a"]), UnixTime(1)).unwrap();
        let mut other = declare("gr_o", &[]).application;
        other.id = Id::from("app_0123456789abcdefghijkl");
        store.insert(&other);
        let keep =
            |ids: &[&str]| KeepDeclared { declared: ids.iter().map(|id| Id::from(*id)).collect() };
        assert_eq!(store.run(&keep(&["shop"]), UnixTime(2)), Ok(0));
        assert_eq!(store.run(&keep(&[]), UnixTime(3)), Ok(1), "the other one was generated");
        assert!(!is_good(&mut store, "a", 3));
        assert_eq!(store.run(&keep(&[]), UnixTime(4)), Ok(0), "once");
        let row = store.run(&declare("gr_2", &["a"]), UnixTime(5)).unwrap();
        assert!(is_good(&mut store, "a", 5));
        assert_eq!(row.generation.as_str(), "gr_1", "its tokens are good again");
    }

    #[test]
    fn contract_declared_again_after_a_deletion_revives_no_token() {
        let mut store = Memory::default();
        let mut row = store.run(&declare("gr_1", &["a"]), UnixTime(1)).unwrap();
        row.ended = Some(UnixTime(2));
        store.insert(&row);
        let again = store.run(&declare("gr_2", &["a"]), UnixTime(3)).unwrap();
        assert_eq!((again.generation.as_str(), again.ended), ("gr_2", None));
    }
}
