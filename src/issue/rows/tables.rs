//! The columns of every table.
//!
//! Owns one type a table. Adding a column needs a migration; none is ever removed, because the
//! previous release runs on the result. Never decides what a row means: that is for the intents.

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::rows::column::{Column, Id, PasswordHash, Sealed, SecretDigest, Words, kept_as};
use crate::issue::rows::{DamagedRow, Row, Table, Value};

/// A struct for each table, with the conversion of its columns.
macro_rules! rows {
    ($($(#[$doc:meta])* $Row:ident: $Table:ident {
        $($(#[$about:meta])* $column:ident: $type:ty,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Row {
            $($(#[$about])* pub $column: $type,)*
        }

        impl Row for $Row {
            const TABLE: Table = Table::$Table;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($column)),*];

            fn values(&self) -> Vec<Value> {
                vec![$(Column::to_value(&self.$column)),*]
            }

            fn of(values: Vec<Value>) -> Result<Self, DamagedRow> {
                let mut values = values.into_iter();
                let damaged = |column| DamagedRow { table: Table::$Table.name(), column };
                Ok(Self {
                    $($column: values
                        .next()
                        .and_then(Column::of)
                        .ok_or(damaged(stringify!($column)))?,)*
                })
            }
        }
    )*};
}

/// Enumerations that are kept as a word.
macro_rules! words {
    ($($(#[$doc:meta])* $Name:ident { $($(#[$about:meta])* $Variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Name {
            $($(#[$about])* $Variant,)*
        }

        impl $Name {
            /// The word in the store and in answers.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Variant => $word,)*
                }
            }
        }

        kept_as! {
            $Name, Box<str>, |one| Box::<str>::from(one.as_str()), |text| match &*text {
                $($word => Some(Self::$Variant),)*
                _ => None,
            };
        }
    )*};
}

words! {
    /// The kinds of credential with a row of their own.
    CredentialKind {
        /// `gp_key_`.
        Key = "key",
        /// `gp_pat_`.
        Pat = "pat",
    }
    /// The digest that a credential is stored under.
    DigestMethod {
        /// SHA-256 of a secret that gatepost made.
        Made = "made",
        /// SHA-256 of a key of another maker.
        Sha256 = "sha256",
        /// HMAC of a key of another maker, under a key of the SafeStore.
        Hmac = "hmac",
    }
    /// The actor who disabled a credential.
    DisabledBy {
        /// Its owner, who may enable it.
        Owner = "owner",
        /// An operator, who alone may enable it.
        Operator = "operator",
    }
    /// The rules that an application follows in the code flow.
    Profile {
        /// PKCE with S256 is required.
        Strict = "strict",
        /// Confidential clients as in the guides: PKCE and `state` are optional.
        Compat = "compat",
    }
    /// The stage of a signing key.
    KeyStage {
        /// Published, and signs later.
        Next = "next",
        /// Signs.
        Active = "active",
        /// Published, and signs no more.
        Retired = "retired",
    }
    /// The progress of a device code.
    DeviceState {
        /// No person has decided.
        Pending = "pending",
        /// A person approved it; not redeemed yet.
        Approved = "approved",
        /// A person refused it.
        Denied = "denied",
        /// Redeemed.
        Used = "used",
    }
}

rows! {
    /// A person, local or known to the protected application.
    Person: People {
        /// `usr_...`, or the id of `sign_in.app`.
        id: Id,
        /// The name at sign-in, unique among people that have not ended.
        login: Option<Box<str>>,
        /// The full name.
        name: Option<Box<str>>,
        /// E-mail address.
        email: Option<Box<str>>,
        /// Roles.
        roles: Words,
        /// Time of creation.
        created: UnixTime,
        /// Since then all of their credentials are refused.
        disabled: Option<UnixTime>,
        /// Deleted then.
        ended: Option<UnixTime>,
    }
    /// An OAuth client.
    Application: Applications {
        /// `app_...`, or a declared id.
        id: Id,
        /// The person who registered it; `None` for declared ones and plugins.
        owner: Option<Id>,
        /// Name on the consent page.
        name: Box<str>,
        /// Home page.
        site: Option<Box<str>>,
        /// Has a secret.
        confidential: bool,
        /// Rules of the code flow.
        profile: Profile,
        /// Registered redirect URIs.
        redirect_uris: Words,
        /// Grant types that it may use.
        grants: Words,
        /// The most that it may get; `None` is every scope.
        scopes: Option<ScopeSet>,
        /// No consent page.
        first_party: bool,
        /// May ask the introspection endpoint.
        introspect: bool,
        /// Lifetime of its access tokens in seconds, where an operator set one.
        access_lifetime: Option<u64>,
        /// The plugin that it was made for.
        plugin: Option<Box<str>>,
        /// An operator approved it then.
        approved: Option<UnixTime>,
        /// The `jti` prefix of its client-credentials tokens: ending it ends all of them.
        generation: Id,
        /// Time of creation.
        created: UnixTime,
        /// Since then it gets no tokens and its tokens are refused.
        disabled: Option<UnixTime>,
        /// Deleted then.
        ended: Option<UnixTime>,
    }
    /// A client secret.
    Secret: Secrets {
        /// Not the secret: a name for commands.
        id: Id,
        /// Its application.
        application: Id,
        /// Digest of the secret.
        digest: SecretDigest,
        /// The secret for the owner or the plugin, sealed.
        sealed: Option<Sealed>,
        /// Time of creation.
        created: UnixTime,
        /// Good until then.
        ends: Option<UnixTime>,
    }
    /// An API key or a personal access token.
    Credential: Credentials {
        /// `key_...` or `pat_...`.
        id: Id,
        /// Which of the two.
        kind: CredentialKind,
        /// The person it acts for.
        owner: Id,
        /// A label for people.
        name: Box<str>,
        /// Digest of the credential.
        digest: SecretDigest,
        /// Its last four characters, for lists.
        hint: Box<str>,
        /// Granted scopes; what the owner's roles allow of them counts.
        scopes: ScopeSet,
        /// Time of creation.
        created: UnixTime,
        /// Not at or after this instant.
        expires: Option<UnixTime>,
        /// Since then it is refused, until it is enabled.
        disabled: Option<UnixTime>,
        /// Revoked then, for good.
        ended: Option<UnixTime>,
        /// The one that this replaces.
        replaces: Option<Id>,
        /// The digest; `None` in a row of an earlier release, which may be any.
        method: Option<DigestMethod>,
        /// The actor who disabled it; `None` where it is not, or an earlier release disabled it.
        disabled_by: Option<DisabledBy>,
    }
    /// One authorization: the family of tokens that one code or device code gave.
    Grant: Grants {
        /// The `jti` of its access tokens begins with it.
        id: Id,
        /// The application.
        application: Id,
        /// The person who allowed it.
        person: Id,
        /// The granted scopes.
        scopes: ScopeSet,
        /// Time of the person's sign-in.
        auth_time: UnixTime,
        /// Time of creation.
        created: UnixTime,
        /// No access token of it lives longer.
        live_until: UnixTime,
        /// Ended then, with every token of it.
        ended: Option<UnixTime>,
    }
    /// A refresh token.
    RefreshToken: RefreshTokens {
        /// Digest of the token.
        digest: SecretDigest,
        /// Its family.
        grant_id: Id,
        /// Time of creation.
        created: UnixTime,
        /// The end that no use extends.
        expires: UnixTime,
        /// The end unless it is used.
        idle_until: UnixTime,
        /// Used then, for a successor.
        used: Option<UnixTime>,
        /// Digest of the successor.
        successor: Option<SecretDigest>,
        /// The successor, sealed, while grace lasts.
        sealed: Option<Sealed>,
    }
    /// An authorization code.
    Code: Codes {
        /// Digest of the code.
        digest: SecretDigest,
        /// The application that it was given to.
        application: Id,
        /// The person who consented.
        person: Id,
        /// The redirect URI of the request, if it named one.
        redirect_uri: Option<Box<str>>,
        /// The PKCE challenge (S256).
        challenge: Option<Box<str>>,
        /// Scopes that the person allowed.
        scopes: ScopeSet,
        /// Time of the person's sign-in.
        auth_time: UnixTime,
        /// Not at or after this instant.
        expires: UnixTime,
        /// The family that it gave.
        grant_id: Option<Id>,
        /// Redeemed, or ended by a wrong attempt.
        ended: Option<UnixTime>,
    }
    /// A device code (RFC 8628).
    Device: Devices {
        /// Digest of the device code.
        digest: SecretDigest,
        /// Keyed digest of the user code.
        user_code: SecretDigest,
        /// The application that asked.
        application: Id,
        /// Requested scopes, then those allowed.
        scopes: ScopeSet,
        /// Its progress.
        state: DeviceState,
        /// The person who decided.
        person: Option<Id>,
        /// Time of that person's sign-in.
        auth_time: Option<UnixTime>,
        /// Seconds that the device waits between two questions.
        interval: u64,
        /// The last question.
        polled: Option<UnixTime>,
        /// Not at or after this instant.
        expires: UnixTime,
        /// The family that it gave.
        grant_id: Option<Id>,
        /// Address of the device, in the form that limits count by.
        address: Option<Box<str>>,
    }
    /// An access token that was revoked by itself.
    EndedToken: EndedTokens {
        /// Its `jti`.
        id: Id,
        /// Its `exp`.
        expires: UnixTime,
    }
    /// The last use of a credential or a client secret, apart from its row: a use changes nothing
    /// at the gate.
    Use: Uses {
        /// Its id.
        id: Id,
        /// Time of last use.
        at: UnixTime,
    }
    /// A pepper that was used, without the pepper.
    Pepper: Peppers {
        /// Its id in the configuration.
        id: Id,
        /// A text that other bytes under this id do not have.
        check_value: Box<str>,
        /// The same for every pepper.
        purpose: Box<str>,
        /// Time of its first use.
        created: UnixTime,
        /// Nothing is sealed under it since then.
        ended: Option<UnixTime>,
    }
    /// The share of an owner, wrapped under a pepper.
    Share: Shares {
        /// A person, an application, or `system`.
        owner: Id,
        /// Grows when it is replaced.
        version: u64,
        /// The pepper that it is wrapped under.
        pepper: Box<str>,
        /// AES key wrap, in base64url.
        wrapped: Sealed,
        /// Time of creation.
        created: UnixTime,
    }
    /// A secret of the issuer itself.
    SystemSecret: SystemSecrets {
        /// Its name.
        name: Id,
        /// The secret, sealed.
        sealed: Sealed,
        /// Time of creation.
        created: UnixTime,
    }
    /// A key that signs tokens.
    SigningKey: SigningKeys {
        /// Its RFC 7638 thumbprint.
        kid: Id,
        /// The tokens that it signs.
        purpose: Box<str>,
        /// `RS256` or `ES256`.
        algorithm: Box<str>,
        /// Its stage.
        stage: KeyStage,
        /// The instant of its stage: signs from, signs since, or published until.
        at: UnixTime,
        /// The private key, sealed.
        sealed: Sealed,
        /// Time of creation.
        created: UnixTime,
        /// Published no more since then.
        ended: Option<UnixTime>,
    }
    /// A restore: tokens whose serial is in its range were issued after the backup.
    Restore: Restores {
        /// Its name.
        id: Id,
        /// The first serial.
        first: u64,
        /// The last serial.
        last: u64,
        /// Time of the restore.
        at: UnixTime,
    }
    /// The password of a local person.
    Password: Passwords {
        /// The person.
        person: Id,
        /// Its hash.
        hash: PasswordHash,
        /// Time of the last change.
        changed: UnixTime,
    }
    /// A person's session in a browser.
    Session: Sessions {
        /// Digest of the id in the cookie.
        digest: SecretDigest,
        /// Not that id: a name for lists.
        id: Id,
        /// The person.
        person: Id,
        /// Time of the last sign-in or confirmed password; zero if the application that signed the
        /// person in does not know it.
        auth_time: UnixTime,
        /// Time of creation.
        created: UnixTime,
        /// Time of the last request, up to a minute late.
        seen: UnixTime,
        /// The end that no use extends.
        expires: UnixTime,
        /// `User-Agent`, shortened.
        agent: Option<Box<str>>,
        /// Address at sign-in.
        address: Option<Box<str>>,
        /// Ended then.
        ended: Option<UnixTime>,
    }
    /// A link that sets a password once.
    Reset: Resets {
        /// Digest of its last segment.
        digest: SecretDigest,
        /// The person.
        person: Id,
        /// Time of creation.
        created: UnixTime,
        /// Not at or after this instant.
        expires: UnixTime,
        /// Used or replaced then.
        ended: Option<UnixTime>,
    }
    /// A person's consent to an application.
    RecordedConsent: Consents {
        /// Person and application, in one text.
        id: Id,
        /// The person.
        person: Id,
        /// The application.
        application: Id,
        /// All scopes that were allowed so far.
        scopes: ScopeSet,
        /// Digest of the name, owner and redirect hosts that the person saw.
        shown: Box<str>,
        /// Time of the last consent.
        created: UnixTime,
        /// Withdrawn then.
        ended: Option<UnixTime>,
    }
    /// One line of the audit log.
    Audit: Audit {
        /// Number of the transaction that wrote it.
        number: u64,
        /// Position within the transaction.
        position: u64,
        /// Time of the act.
        at: UnixTime,
        /// The act.
        act: Box<str>,
        /// The actor: a person, an application, or the operator.
        actor: Box<str>,
        /// The person concerned.
        subject: Option<Id>,
        /// The application concerned.
        application: Option<Id>,
        /// The credential or grant concerned.
        credential: Option<Id>,
        /// Address of the caller.
        address: Option<Box<str>>,
        /// Request id.
        request: Option<Box<str>>,
    }
}
