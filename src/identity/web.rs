//! Questions over HTTP, from threads that may block: connections are kept, every wait has an end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::pem;
use crate::limits::HTTP_REPLY_BYTES_MAX;

/// A client for one service.
#[derive(Clone)]
pub struct Web(Agent);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub url: &'a str,
    /// With a type: POST. Without: GET.
    pub body: Option<(&'a str, &'a [u8])>,
    pub headers: &'a [(String, String)],
}

impl Web {
    /// For an address of `https`, whom to believe: the authorities of the file, or the system's.
    ///
    /// # Errors
    /// The file is not what it should be.
    pub fn new(timeout: Duration, ca: Option<&Path>, connections: u32) -> Result<Self, String> {
        let found = pem::authorities(ca)?;
        let certificates = found
            .iter()
            .map(|der| Certificate::from_der(der).to_owned());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(certificates.collect())))
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // A question with a password goes where the operator said, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_idle_connections(connections as usize)
            .max_idle_connections_per_host(connections as usize)
            .user_agent("ringmq")
            .build();
        Ok(Self(config.into()))
    }

    /// # Errors
    /// There was no answer in time, or one that is too long.
    pub fn call(&self, call: Call<'_>) -> Result<Reply, String> {
        let read = |response: Result<Response<ureq::Body>, ureq::Error>| {
            let mut response = response.map_err(|error| error.to_string())?;
            let status = response.status().as_u16();
            let body = response
                .body_mut()
                .with_config()
                .limit(HTTP_REPLY_BYTES_MAX);
            Ok(Reply {
                status,
                body: body.read_to_vec().map_err(|error| error.to_string())?,
            })
        };
        match call.body {
            None => {
                let mut request = self.0.get(call.url);
                for (name, value) in call.headers {
                    request = request.header(name, value);
                }
                read(request.call())
            }
            Some((kind, body)) => {
                let mut request = self.0.post(call.url).content_type(kind);
                for (name, value) in call.headers {
                    request = request.header(name, value);
                }
                read(request.send(body))
            }
        }
    }
}

/// Checks an address.
///
/// # Errors
/// It is none that can be asked.
pub fn url(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let uri: Result<ureq::http::Uri, _> = text.parse();
    match (rest, uri) {
        (Some(_), Ok(uri)) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(text.into()),
        _ => Err(format!(
            "`{text}` is no address: http://HOST/PATH or https://…"
        )),
    }
}
