//! TLS without any trust: who asks for it wants to know whether a server answers, not who it is
//! (`InsecureSkipVerify` in `pkg/probe/http/http.go`).

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tap::{Heard, Tap};

/// Why there is no TLS with a server.
#[derive(Debug)]
pub enum TlsError {
    /// It answered in plain HTTP.
    PlainHttp,
    /// Anything else, in words.
    Other(String),
}

/// Speaks TLS with whoever is at the other end.
///
/// # Errors
/// [`TlsError`].
pub async fn handshake(stream: TcpStream, host: &str) -> Result<TlsStream<Tap>, TlsError> {
    static CONNECTOR: LazyLock<TlsConnector> = LazyLock::new(|| TlsConnector::from(config()));
    let name = match host.parse() {
        Ok(ip) => ServerName::IpAddress(std::net::IpAddr::into(ip)),
        Err(_) => ServerName::try_from(host.to_owned())
            .map_err(|error| TlsError::Other(format!("tls: {host}: {error}")))?,
    };
    let heard = Heard::default();
    let tap = Tap::new(stream, heard.clone());
    let error = match CONNECTOR.connect(name, tap).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    Err(match &heard.borrow()[..] {
        b"HTTP/" => TlsError::PlainHttp,
        [] if error.kind() == io::ErrorKind::UnexpectedEof => TlsError::Other("EOF".to_owned()),
        // The content types of TLS (RFC 8446, 5.1).
        [kind, ..] if !(20..=24).contains(kind) => {
            TlsError::Other("tls: first record does not look like a TLS handshake".to_owned())
        }
        _ => TlsError::Other(format!("tls: {error}")),
    })
}

fn config() -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of every version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Arc::new(config)
}

/// Takes everybody for whoever they say they are.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // With a key that anyone may have made, a signature says nothing.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
