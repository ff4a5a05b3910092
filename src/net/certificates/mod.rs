//! Certificates: ours, loaded and checked before they are used, made where there are none; and the
//! clients', as far as they say who somebody is.

pub mod load;
pub mod make;
pub mod resolver;
mod x509;

pub use load::{ClientCertificates, Loaded, Resumption, TlsOptions, check_clients, load};
pub use x509::{Facts, facts, peer};
