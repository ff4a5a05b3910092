pub use crate::codec::QoS;
