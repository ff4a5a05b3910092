//! Whom TLS clients trust, and who they are.

use super::tickets::Tickets;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Authorities that may have issued the broker's certificate; without it those of the system.
    pub authorities: Option<PathBuf>,
    /// Any certificate will do.
    pub is_insecure: bool,
    /// The certificate chain that all clients show, and the file of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Sessions of earlier connections are resumed.
    pub resumes: bool,
}

/// `protocol` is what clients name by ALPN.
///
/// # Errors
/// A sentence that names the file that is not there or not understood.
pub fn client_config(options: &TlsOptions, protocol: &[u8]) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS does not work here: {error}"))?;
    let builder = match options.is_insecure {
        true => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        false => builder.with_root_certificates(authorities(options.authorities.as_deref())?),
    };
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let certificates = certificates(chain)?;
            let key_der = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("{}: no private key: {error}", key.display()))?;
            builder
                .with_client_auth_cert(certificates, key_der)
                .map_err(|error| format!("{}: {error}", key.display()))?
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    // Devices do not share sessions, so where these are not to be resumed, there are none.
    config.resumption = match options.resumes {
        true => Resumption::store(Arc::new(Tickets::new())),
        false => Resumption::disabled(),
    };
    Ok(config)
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = match file {
        Some(file) => certificates(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(match file {
            Some(file) => format!("{}: no certificate of an authority in it", file.display()),
            None => {
                "the system trusts no authority: name the broker's with --ca, or --insecure".into()
            }
        });
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let why = |error| format!("{}: {error}", file.display());
    let all = CertificateDer::pem_file_iter(file).map_err(why)?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(why)?;
    match all.is_empty() {
        true => Err(format!("{}: no certificate in it", file.display())),
        false => Ok(all),
    }
}

/// Takes every certificate, and wants only that the broker has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
