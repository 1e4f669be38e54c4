//! Tests of settings from all sources: which source takes precedence, what is refused, and why.

use super::*;
use crate::Sample;

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &Overrides,
) -> Result<NodeConfig, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("conclave.toml");
    std::fs::write(&path, file).unwrap();
    let variable = |key: &str| {
        let found = environment.iter().find(|(name, _)| *name == key);
        Ok(found.map(|(_, value)| (*value).to_owned()))
    };
    NodeConfig::load_with(Some(&path), variable, flags)
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let flags = Overrides {
        node: Some(4),
        ..Overrides::default()
    };
    let environment = [("CONCLAVE_NODE", "3"), ("CONCLAVE_PEER_ADDRESS", "h:3")];
    let file = "node = 2\npeer_address = 'h:2'\nclient_address = 'h:1'\n";
    let config = load(file, &environment, &flags).unwrap();
    assert_eq!(config.node, Some(4));
    assert_eq!(config.peer_address, "h:3");
    assert_eq!(config.client_address, "h:1");
    assert_eq!(config.log, NodeConfig::default().log);
    let nothing = load("", &[], &Overrides::default()).unwrap();
    assert_eq!(nothing, NodeConfig::default());
}

#[test]
fn an_unknown_key_is_named_and_refused() {
    let refused = load("nodes = 3\n", &[], &Overrides::default())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("nodes"), "{refused}");
    let refused = load("node = 'x'\n", &[], &Overrides::default())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("node"), "{refused}");
    let environment = [("CONCLAVE_NODE", "three")];
    let refused = load("", &environment, &Overrides::default())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("CONCLAVE_NODE"), "{refused}");
}

#[test]
fn registration_is_set_by_file_environment_or_flag() {
    let closed = load("registration = 'closed'\n", &[], &Overrides::default()).unwrap();
    assert_eq!(closed.registration, Some(Registration::Closed));
    let variable = [("CONCLAVE_REGISTRATION", "invite")];
    let invite = load(
        "registration = 'closed'\n",
        &variable,
        &Overrides::default(),
    )
    .unwrap();
    assert_eq!(invite.registration, Some(Registration::Invite));
    let flags = Overrides {
        registration: Some(Registration::Open),
        ..Overrides::default()
    };
    let open = load("", &variable, &flags).unwrap();
    assert_eq!(open.registration, Some(Registration::Open));
    let nothing = load("", &[], &Overrides::default()).unwrap();
    assert_eq!(nothing.registration, None);

    let refused = load("registration = 'opne'\n", &[], &Overrides::default()).unwrap_err();
    assert!(refused.to_string().contains("opne"), "{refused}");
    let variable = [("CONCLAVE_REGISTRATION", "opne")];
    let refused = load("", &variable, &Overrides::default()).unwrap_err();
    assert!(
        refused.to_string().contains("CONCLAVE_REGISTRATION"),
        "{refused}"
    );
}

#[test]
fn node_number_0_is_refused() {
    let numbered_zero = NodeConfig {
        node: Some(0),
        ..NodeConfig::default()
    };
    assert!(numbered_zero.members().is_err());
}

#[test]
fn addresses_are_validated_before_anything_is_opened() {
    let refused = |config: &NodeConfig| config.members().unwrap_err().to_string();
    let plain = NodeConfig::default;
    for host in [
        "127.0.0.1:22400",
        "",
        "chat.example/",
        "my host",
        "fe80::1%lo",
    ] {
        let config = NodeConfig {
            advertise: Some(host.to_owned()),
            ..plain()
        };
        assert!(refused(&config).contains("advertise"), "{host}");
    }
    let config = NodeConfig {
        client_address: "::1:22400".to_owned(),
        ..plain()
    };
    assert!(refused(&config).contains("in brackets"));
    let config = NodeConfig {
        join: vec!["10.0.0.1/:7401".to_owned()],
        ..plain()
    };
    assert!(refused(&config).contains("no slash"));
}

#[test]
fn leftover_join_settings_are_checked_only_when_joining() {
    let config = NodeConfig {
        join_token: Some("token".to_owned()),
        ..NodeConfig::default()
    };
    config.members().unwrap();
    let refused = config.check_joining().unwrap_err().to_string();
    assert!(refused.contains("CONCLAVE_JOIN_TOKEN"), "{refused}");
}

#[test]
fn a_path_that_is_not_utf_8_is_kept_unchanged() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = PathBuf::from(std::ffi::OsString::from_vec(vec![b'd', 0xff]));
    let flags = Overrides {
        data: Some(odd.clone()),
        secret_file: Some(odd.clone()),
        ..Overrides::default()
    };
    let config = load("data = 'file'\n", &[("CONCLAVE_DATA", "variable")], &flags).unwrap();
    assert_eq!(config.data, odd);
    assert_eq!(config.secret_file, Some(odd));
    let broken = |_: &str| Err(ConfigError::Unreadable("no text".to_owned()));
    assert!(NodeConfig::load_with(None, broken, &Overrides::default()).is_err());
}

#[test]
fn members_are_read_or_refused_with_a_reason() {
    let config = |members: &[&str]| NodeConfig {
        members: members.iter().map(|member| (*member).to_owned()).collect(),
        ..NodeConfig::default()
    };
    let good = config(&["1=a:1/a:2", "2=[::1]:3/b:4"]).members().unwrap();
    assert_eq!(good[&2].peer_address, "[::1]:3");
    let bad: [&[&str]; 10] = [
        &["a:1/a:2"],
        &["x=a:1/a:2"],
        &["0=a:1/a:2"],
        &["10001=a:1/a:2"],
        &["1=a:1"],
        &["1=a/a:2"],
        &["1=a:1/a:99999"],
        &["1=a:1/a:2", "1=a:3/a:4"],
        &["1=a:1/a:2", "2=a:1/a:3"],
        &["2=a:1/a:2"],
    ];
    for members in bad {
        assert!(config(members).members().is_err(), "{members:?}");
    }
}

#[test]
fn traces_are_set_by_file_or_environment() {
    let of = |file: &str, environment: &[(&str, &str)]| {
        let config = load(file, environment, &Overrides::default());
        config.map(|config| config.trace)
    };
    let file = "[trace]\notlp = 'http://c:4317'\nsample = 1\n";
    let all = of(file, &[]).unwrap();
    assert_eq!(all.otlp.as_deref(), Some("http://c:4317"));
    assert_eq!(all.sample, Sample::try_from(1.0).unwrap());
    let environment = [
        ("CONCLAVE_TRACE_OTLP", "http://d:4317"),
        ("CONCLAVE_TRACE_SAMPLE", "0.25"),
    ];
    let quarter = of(file, &environment).unwrap();
    assert_eq!(quarter.otlp.as_deref(), Some("http://d:4317"));
    assert_eq!(quarter.sample, Sample::try_from(0.25).unwrap());
    assert_eq!(of("", &[]).unwrap(), TraceConfig::default());
    for wrong in ["sample = 1.5", "sample = -1", "sample = 'many'", "rate = 1"] {
        let refused = of(&format!("[trace]\n{wrong}\n"), &[]).unwrap_err();
        assert!(refused.to_string().contains("trace"), "{refused}");
    }
}
