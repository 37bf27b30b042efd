//! TLS 1.2 and 1.3 by rustls, from PEM files that are read once, at the start.
//!
//! It decides nothing about who may connect.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error, ServerConfig};

use crate::access::Tls;
use crate::config::ConfigError;

/// Reads the certificate and its key.
///
/// # Errors
/// When a file is missing or holds something else, or the two do not belong together; one sentence that names it.
pub(crate) fn acceptor(files: &Tls) -> Result<TlsAcceptor, ConfigError> {
    let refuse =
        |key: &str, message: String| ConfigError::Setting { key: format!("access.tls.{key}"), message };
    let chain = certificates(&files.certificate).map_err(|message| refuse("certificate", message))?;
    let key = PrivateKeyDer::from_pem_file(&files.key);
    let key = key.map_err(|error| refuse("key", explain(&files.key, "private key", &error)))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions();
    let single = |builder: tokio_rustls::rustls::ConfigBuilder<ServerConfig, _>| {
        builder.with_no_client_auth().with_single_cert(chain, key)
    };
    let mut config = builder.and_then(single).map_err(|error| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let message = match error {
            Error::InconsistentKeys(_) => format!("{key} is not the key of the certificate in {certificate}"),
            other => format!("{certificate} and {key} cannot be used: {other}"),
        };
        refuse("key", message)
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| explain(path, "certificate", &error))?;
    if chain.is_empty() {
        return Err(explain(path, "certificate", &PemError::NoItemsFound));
    }
    Ok(chain)
}

fn explain(path: &Path, wanted: &str, error: &PemError) -> String {
    let path = path.display();
    match error {
        PemError::Io(cause) => format!("{path} cannot be read: {cause}"),
        PemError::NoItemsFound => format!("{path} holds no {wanted} in PEM form"),
        other => format!("{path} is not a PEM file with a {wanted}: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;

    #[test]
    fn wrong_files_are_refused_with_their_reason() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (one, two) = (
            generate_simple_self_signed(["localhost".into()]).unwrap(),
            generate_simple_self_signed(["localhost".into()]).unwrap(),
        );
        let certificate = write("cert.pem", &one.cert.pem());
        let (key, other) = (
            write("key.pem", &one.signing_key.serialize_pem()),
            write("other.pem", &two.signing_key.serialize_pem()),
        );
        let (empty, cut) = (write("empty.pem", ""), write("cut.pem", &one.cert.pem()[..100]));
        let absent = folder.path().join("absent.pem");
        let files = |certificate: &Path, key: &Path| Tls { certificate: certificate.into(), key: key.into() };
        assert!(acceptor(&files(&certificate, &key)).is_ok());
        for (certificate, key, part) in [
            (&absent, &key, "access.tls.certificate: "),
            (&absent, &key, "cannot be read"),
            (&certificate, &absent, "access.tls.key: "),
            (&empty, &key, "holds no certificate"),
            (&key, &key, "holds no certificate"),
            (&certificate, &empty, "holds no private key"),
            (&certificate, &certificate, "holds no private key"),
            (&cut, &key, "not a PEM file with a certificate"),
            (&certificate, &other, "is not the key of the certificate"),
        ] {
            let error = acceptor(&files(certificate, key)).err().expect("refused").to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{part}: {error}");
        }
    }
}
