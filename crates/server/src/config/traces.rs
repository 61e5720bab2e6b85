//! The `traces` block: where the spans of requests go.

use std::collections::BTreeMap;

use dewdrop_core::Secret;
use http::{HeaderName, HeaderValue, Uri};

use super::fields::Fields;

/// Where spans go, and how many.
#[derive(Debug)]
pub struct Traces {
    /// The collector's OTLP/HTTP address, with its path.
    pub endpoint: String,
    /// Sent along; they often hold a token.
    pub headers: BTreeMap<String, Secret<String>>,
    /// Of requests whose caller does not trace, so many are traced: 0 to 1. A caller's decision is followed.
    pub ratio: f64,
    /// How this server is named in the traces.
    pub service: String,
}

/// Where a collector takes spans, below its address.
const PATH: &str = "/v1/traces";

/// Reads the block.
pub(super) fn read(top: &mut Fields<'_>) -> Option<Traces> {
    let mut fields = top.block("traces")?;
    if !cfg!(feature = "otel") {
        let help = "build dewdrop with the feature \"otel\", or remove the block";
        fields.report.problem(fields.span, "this program was built without OpenTelemetry (feature \"otel\")", help);
    }
    let endpoint = fields.read("otlp_endpoint", endpoint);
    if endpoint.is_none() {
        let help = "write otlp_endpoint = \"http://127.0.0.1:4318\"";
        fields.report.lacking(fields.span, "\"traces\" needs \"otlp_endpoint\"", help);
    }
    let mut headers = BTreeMap::new();
    for (name, (value, span)) in fields.map("otlp_headers") {
        if name.parse::<HeaderName>().is_err() || HeaderValue::from_str(&value).is_err() {
            fields.report.problem(span, format!("{name:?} is no header"), "write \"name\" = \"value\"");
        }
        headers.insert(name, Secret::new(value));
    }
    let ratio = fields.read("sampling_ratio", |text| {
        let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.ok_or_else(|| "must be a number from 0 to 1".to_owned())
    });
    let service = fields.filled("service_name").unwrap_or_else(|| "dewdrop".into());
    fields.finish();
    Some(Traces { endpoint: endpoint?, headers, ratio: ratio.unwrap_or(1.0), service })
}

fn endpoint(text: &str) -> Result<String, String> {
    let wrong = || "must be http://HOST:PORT or https://HOST:PORT".to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
        return Err(wrong());
    }
    if authority.as_str().contains('@') {
        return Err("must hold no password: put it into otlp_headers".into());
    }
    let text = text.trim_end_matches('/');
    Ok(if uri.path().trim_end_matches('/').is_empty() { format!("{text}{PATH}") } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn read(block: &str) -> Result<Config, String> {
        let text = format!(
            "storage \"inmem\" {{}}\nlistener \"tcp\" {{\n address = \"127.0.0.1:1\"\n tls_disable = true\n}}\n{block}"
        );
        Config::parse("x.hcl", &text).map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    #[cfg(feature = "otel")]
    fn a_block_is_read() {
        let text = "traces {\n otlp_endpoint = \"http://127.0.0.1:4318/\"\n sampling_ratio = 0.25\n otlp_headers {\n authorization = \"Bearer canary\"\n }\n}";
        let config = read(text).unwrap();
        let traces = config.traces.unwrap();
        assert_eq!(
            (traces.endpoint.as_str(), traces.ratio, traces.service.as_str()),
            ("http://127.0.0.1:4318/v1/traces", 0.25, "dewdrop")
        );
        assert_eq!(traces.headers["authorization"].expose(), "Bearer canary");
        assert!(!format!("{traces:?}").contains("canary"));
        assert!(read("").unwrap().traces.is_none());
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("traces {}", "otlp_endpoint"),
            ("traces {\n otlp_endpoint = \"127.0.0.1:4318\"\n}", "http://HOST:PORT"),
            ("traces {\n otlp_endpoint = \"http://u:p@h:1\"\n}", "otlp_headers"),
            ("traces {\n otlp_endpoint = \"http://h:1\"\n sampling_ratio = 2\n}", "from 0 to 1"),
            ("traces {\n otlp_endpoint = \"http://h:1\"\n sampling = 2\n}", "sampling"),
        ];
        for (block, why) in cases {
            let told = read(block).unwrap_err();
            assert!(told.contains(why), "{block}: {told}");
        }
        let told = read("traces {\n otlp_endpoint = \"http://h:1\"\n}").map_or_else(|told| told, |_| String::new());
        assert_eq!(told.contains("feature \"otel\""), cfg!(not(feature = "otel")));
    }
}
