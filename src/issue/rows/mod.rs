//! The rows of the store, as the intents see them.
//!
//! Owns the tables, their columns and the conversion of each column. Never speaks SQL: a store
//! reads and writes [`Value`]s by table and column name.

mod column;
mod tables;

use std::fmt;

use thiserror::Error;

pub use column::{Column, Id, PasswordHash, Sealed, SecretDigest, Words};
pub use tables::{
    Application, Audit, Code, Credential, CredentialKind, Device, DeviceState, DigestMethod,
    DisabledBy, EndedToken, Grant, KeyStage, Password, Pepper, Person, Profile, RecordedConsent,
    RefreshToken, Reset, Restore, Secret, Session, Share, SigningKey, SystemSecret, Use,
};

/// The content of one column.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Absent.
    Null,
    /// A number, an instant or a yes or no.
    Int(i64),
    /// Text.
    Text(Box<str>),
    /// A digest.
    Bytes(Box<[u8]>),
}

/// The type alone: rows hold digests and sealed secrets.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "text of {} bytes", text.len()),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// The tables. The first column of each is its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// [`Person`].
    People,
    /// [`Application`].
    Applications,
    /// [`Secret`].
    Secrets,
    /// [`Credential`].
    Credentials,
    /// [`Grant`].
    Grants,
    /// [`RefreshToken`].
    RefreshTokens,
    /// [`Code`].
    Codes,
    /// [`Device`].
    Devices,
    /// [`EndedToken`].
    EndedTokens,
    /// [`Use`].
    Uses,
    /// [`Pepper`].
    Peppers,
    /// [`Share`].
    Shares,
    /// [`SystemSecret`].
    SystemSecrets,
    /// [`SigningKey`].
    SigningKeys,
    /// [`Restore`].
    Restores,
    /// [`Password`].
    Passwords,
    /// [`Session`].
    Sessions,
    /// [`Reset`].
    Resets,
    /// [`RecordedConsent`].
    Consents,
    /// [`Audit`].
    Audit,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 20] = [
        Self::People,
        Self::Applications,
        Self::Secrets,
        Self::Credentials,
        Self::Grants,
        Self::RefreshTokens,
        Self::Codes,
        Self::Devices,
        Self::EndedTokens,
        Self::Uses,
        Self::Peppers,
        Self::Shares,
        Self::SystemSecrets,
        Self::SigningKeys,
        Self::Restores,
        Self::Passwords,
        Self::Sessions,
        Self::Resets,
        Self::Consents,
        Self::Audit,
    ];

    /// Its name in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Applications => "applications",
            Self::Secrets => "secrets",
            Self::Credentials => "credentials",
            Self::Grants => "grants",
            Self::RefreshTokens => "refresh_tokens",
            Self::Codes => "codes",
            Self::Devices => "devices",
            Self::EndedTokens => "ended_tokens",
            Self::Uses => "uses",
            Self::Peppers => "peppers",
            Self::Shares => "shares",
            Self::SystemSecrets => "system_secrets",
            Self::SigningKeys => "signing_keys",
            Self::Restores => "restores",
            Self::Passwords => "passwords",
            Self::Sessions => "sessions",
            Self::Resets => "resets",
            Self::Consents => "consents",
            Self::Audit => "audit",
        }
    }

    /// The table of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its columns, the key first.
    #[must_use]
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::People => Person::COLUMNS,
            Self::Applications => Application::COLUMNS,
            Self::Secrets => Secret::COLUMNS,
            Self::Credentials => Credential::COLUMNS,
            Self::Grants => Grant::COLUMNS,
            Self::RefreshTokens => RefreshToken::COLUMNS,
            Self::Codes => Code::COLUMNS,
            Self::Devices => Device::COLUMNS,
            Self::EndedTokens => EndedToken::COLUMNS,
            Self::Uses => Use::COLUMNS,
            Self::Peppers => Pepper::COLUMNS,
            Self::Shares => Share::COLUMNS,
            Self::SystemSecrets => SystemSecret::COLUMNS,
            Self::SigningKeys => SigningKey::COLUMNS,
            Self::Restores => Restore::COLUMNS,
            Self::Passwords => Password::COLUMNS,
            Self::Sessions => Session::COLUMNS,
            Self::Resets => Reset::COLUMNS,
            Self::Consents => RecordedConsent::COLUMNS,
            Self::Audit => Audit::COLUMNS,
        }
    }

    /// Reads a row, as an intent would.
    ///
    /// # Errors
    /// [`DamagedRow`].
    pub fn check(self, values: Vec<Value>) -> Result<(), DamagedRow> {
        match self {
            Self::People => Person::of(values).map(drop),
            Self::Applications => Application::of(values).map(drop),
            Self::Secrets => Secret::of(values).map(drop),
            Self::Credentials => Credential::of(values).map(drop),
            Self::Grants => Grant::of(values).map(drop),
            Self::RefreshTokens => RefreshToken::of(values).map(drop),
            Self::Codes => Code::of(values).map(drop),
            Self::Devices => Device::of(values).map(drop),
            Self::EndedTokens => EndedToken::of(values).map(drop),
            Self::Uses => Use::of(values).map(drop),
            Self::Peppers => Pepper::of(values).map(drop),
            Self::Shares => Share::of(values).map(drop),
            Self::SystemSecrets => SystemSecret::of(values).map(drop),
            Self::SigningKeys => SigningKey::of(values).map(drop),
            Self::Restores => Restore::of(values).map(drop),
            Self::Passwords => Password::of(values).map(drop),
            Self::Sessions => Session::of(values).map(drop),
            Self::Resets => Reset::of(values).map(drop),
            Self::Consents => RecordedConsent::of(values).map(drop),
            Self::Audit => Audit::of(values).map(drop),
        }
    }

    /// Returns whether a change of its rows takes effect at the gate, so that it is in the change
    /// log.
    #[must_use]
    pub const fn is_followed(self) -> bool {
        matches!(
            self,
            Self::People
                | Self::Applications
                | Self::Credentials
                | Self::Grants
                | Self::EndedTokens
                | Self::SigningKeys
                | Self::Restores
        )
    }
}

/// A row of one table.
pub trait Row: Clone + fmt::Debug + PartialEq + Send + Sync + 'static {
    /// Its table.
    const TABLE: Table;
    /// The columns, the key first.
    const COLUMNS: &'static [&'static str];

    /// The columns' contents, in the order of [`Self::COLUMNS`].
    fn values(&self) -> Vec<Value>;

    /// Reads a row.
    ///
    /// # Errors
    /// [`DamagedRow`]: a column is missing or has another type.
    fn of(values: Vec<Value>) -> Result<Self, DamagedRow>;
}

/// A row that no version of gatepost writes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("table {table}, column {column}: unreadable value; run `gatepost store check`")]
pub struct DamagedRow {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
}
