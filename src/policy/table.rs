//! The route table: from host, method and path to one route.

use std::sync::Arc;

use http::Method;

use crate::path::CanonicalPath;
use crate::policy::Route;

/// Why no route was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMiss {
    /// No pattern fits host and path.
    Unknown,
    /// The most specific host and path have routes, none for this method.
    Method {
        /// For the `Allow` field: the methods these routes take, sorted.
        allow: String,
    },
    /// Another reading of the path meets a route with different access.
    Ambiguous {
        /// Which reading.
        view: &'static str,
    },
}

/// Two routes that tie, or a host-bound route that demands less than a hostless one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMistake {
    /// Index of the offending route.
    pub route: usize,
    /// The other route.
    pub other: usize,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// All routes, indexed: immutable, compiled into a snapshot.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
}

impl RouteTable {
    /// Indexes routes and finds those that contradict each other.
    ///
    /// # Errors
    /// Every [`RouteMistake`].
    pub fn new(
        routes: Vec<Arc<Route>>,
        insecure_host_selected: bool,
    ) -> Result<Self, Vec<RouteMistake>> {
        let _ = insecure_host_selected;
        Ok(Self { routes })
    }

    /// The routes in the order of the configuration.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Finds the route of a request: host and path first, then the method among the routes of
    /// that very host and path; then asks every other reading of the path.
    ///
    /// # Errors
    /// [`RouteMiss`].
    pub fn find(
        &self,
        host: Option<&str>,
        method: &Method,
        path: &CanonicalPath<'_>,
    ) -> Result<&Arc<Route>, RouteMiss> {
        let _ = (host, method, path);
        todo!("policy helper")
    }
}
