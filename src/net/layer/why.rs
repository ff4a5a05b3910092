//! Why a connection ended before, or for another reason than, its MQTT.

/// A reason, counted under its name in `ringmq status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A listener that waits for PROXY headers was reached from an address that is not trusted.
    ProxyUntrusted,
    /// What came is no PROXY header, or a broken one.
    ProxyMalformed,
    /// No whole PROXY header in its time.
    ProxyTimeout,
    /// Plain HTTP where TLS is spoken.
    HttpOnTls,
    /// Plain MQTT where TLS is spoken.
    MqttOnTls,
    /// Neither TLS nor anything known.
    NotTls,
    /// The client ended the handshake by an alert: it does not trust our certificate, most likely.
    TlsAlert,
    /// No certificate where one is required, or one that cannot be trusted or was revoked.
    TlsClientCertificate,
    /// No version, cipher, key exchange or protocol name in common.
    TlsIncompatible,
    /// A record that is broken or does not belong there.
    TlsMalformed,
    /// TLS or WebSocket not begun in time.
    HandshakeTimeout,
    /// MQTT without the WebSocket around it.
    MqttOnWebSocket,
    /// TLS where WebSocket is spoken without.
    TlsOnWebSocket,
    /// What came is no HTTP request.
    HttpMalformed,
    /// An HTTP request with too many or too long headers.
    HttpTooLarge,
    /// HTTP that asks for something else than a WebSocket.
    HttpNotWebSocket,
    /// A WebSocket at another path.
    HttpPath,
    /// A page from an origin that is not on the list.
    HttpOrigin,
    /// A WebSocket that is not asked to carry MQTT.
    HttpSubProtocol,
    /// A text frame (MQTT-6.0.0-1).
    WebSocketText,
    /// A frame without a mask (RFC 6455 section 5.1).
    WebSocketUnmasked,
    /// A frame that is longer than any packet.
    WebSocketTooLarge,
    /// Reserved bits, opcodes, or fragments out of order.
    WebSocketMalformed,
}

impl Why {
    /// All of them, in the order of their numbers.
    pub const ALL: [Why; 23] = [
        Why::ProxyUntrusted,
        Why::ProxyMalformed,
        Why::ProxyTimeout,
        Why::HttpOnTls,
        Why::MqttOnTls,
        Why::NotTls,
        Why::TlsAlert,
        Why::TlsClientCertificate,
        Why::TlsIncompatible,
        Why::TlsMalformed,
        Why::HandshakeTimeout,
        Why::MqttOnWebSocket,
        Why::TlsOnWebSocket,
        Why::HttpMalformed,
        Why::HttpTooLarge,
        Why::HttpNotWebSocket,
        Why::HttpPath,
        Why::HttpOrigin,
        Why::HttpSubProtocol,
        Why::WebSocketText,
        Why::WebSocketUnmasked,
        Why::WebSocketTooLarge,
        Why::WebSocketMalformed,
    ];

    /// The name in figures and logs.
    pub fn name(self) -> &'static str {
        match self {
            Why::ProxyUntrusted => "proxy_untrusted",
            Why::ProxyMalformed => "proxy_malformed",
            Why::ProxyTimeout => "proxy_timeout",
            Why::HttpOnTls => "http_on_tls",
            Why::MqttOnTls => "mqtt_on_tls",
            Why::NotTls => "not_tls",
            Why::TlsAlert => "tls_alert",
            Why::TlsClientCertificate => "tls_client_certificate",
            Why::TlsIncompatible => "tls_incompatible",
            Why::TlsMalformed => "tls_malformed",
            Why::HandshakeTimeout => "handshake_timeout",
            Why::MqttOnWebSocket => "mqtt_on_websocket",
            Why::TlsOnWebSocket => "tls_on_websocket",
            Why::HttpMalformed => "http_malformed",
            Why::HttpTooLarge => "http_too_large",
            Why::HttpNotWebSocket => "http_not_websocket",
            Why::HttpPath => "http_path",
            Why::HttpOrigin => "http_origin",
            Why::HttpSubProtocol => "http_sub_protocol",
            Why::WebSocketText => "websocket_text",
            Why::WebSocketUnmasked => "websocket_unmasked",
            Why::WebSocketTooLarge => "websocket_too_large",
            Why::WebSocketMalformed => "websocket_malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_one_each() {
        let mut names: Vec<_> = Why::ALL.iter().map(|why| why.name()).collect();
        assert!(
            Why::ALL
                .iter()
                .zip(0..)
                .all(|(why, at)| *why as usize == at)
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Why::ALL.len());
    }
}
