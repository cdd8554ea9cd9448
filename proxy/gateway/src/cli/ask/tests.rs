//! What people are told when nobody answers, somebody else does, or half an answer comes.

use std::net::TcpListener;

use super::*;

/// For who says all there is: a thread of it may have to wait for a processor.
const LONG: Patience = Patience {
    silence: Duration::from_secs(60),
    whole: Duration::from_secs(60),
};

const SHORT: Patience = Patience {
    silence: Duration::from_millis(200),
    whole: Duration::from_millis(600),
};

/// What is done with a connection once the request is there.
#[derive(Clone, Copy)]
enum Manner {
    /// Says this and closes.
    Say(&'static str),
    /// Says this, and then nothing more.
    Hold(&'static str),
    /// Says this, and then a byte now and then.
    Drip(&'static str),
    /// Resets it.
    Reset,
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let unused = TcpListener::bind("127.0.0.1:0").expect("bound");
    unused.local_addr().expect("an address")
}

fn told(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = [0; 4096];
        // It comes in pieces.
        let began = Instant::now();
        let count = loop {
            let count = stream.peek(&mut request).expect("a request");
            let is_whole = request[..count].ends_with(b"\r\n\r\n");
            if count == 0 || is_whole || began.elapsed() > LONG.whole {
                break count;
            }
            std::thread::yield_now();
        };
        assert!(request[..count].starts_with(b"GET /status HTTP/1.0\r\nHost: localhost\r\n"));
        assert!(request[..count].ends_with(b"\r\n\r\n"));
        if matches!(manner, Manner::Reset) {
            // Who closes without having read what has come resets the connection.
            return;
        }
        stream.read_exact(&mut request[..count]).expect("the same");
        match manner {
            Manner::Say(text) => stream.write_all(text.as_bytes()).expect("said"),
            Manner::Hold(text) => {
                stream.write_all(text.as_bytes()).expect("said");
                // Until the client goes.
                while stream.read(&mut request).is_ok_and(|count| count > 0) {}
            }
            Manner::Drip(text) => {
                stream.write_all(text.as_bytes()).expect("said");
                while stream.write_all(b" ").is_ok() {
                    std::thread::sleep(SHORT.silence / 10);
                }
            }
            Manner::Reset => {}
        }
    });
    let patience = match manner {
        Manner::Say(_) | Manner::Reset => LONG,
        Manner::Hold(_) | Manner::Drip(_) => SHORT,
    };
    // Who is asked may have an address where nobody listens, like a name of both families.
    let answer = ask(&Admin(vec![nobody(), address]), "/status", patience);
    serving.join().expect("it ends");
    match answer {
        Ok(value) => format!("answered {value}"),
        Err(fault) => format!("{fault:#}"),
    }
}

#[test]
fn each_wrong_answer_is_said_for_what_it_is() {
    let head = "HTTP/1.0 200 OK\r\nServer: causeway\r\n";
    let of = |rest: &str| -> &'static str { format!("{head}{rest}").leak() };
    for (manner, expected) in [
        (Manner::Say(of("\r\n{\"a\": 1}")), "answered {\"a\":1}"),
        (
            Manner::Say(of("Content-Length: 8\r\n\r\n{\"a\": 1}")),
            "answered {\"a\":1}",
        ),
        (Manner::Say(""), "not a Causeway's admin API"),
        (
            Manner::Say("SSH-2.0-OpenSSH_9.2\r\n"),
            "not a Causeway's admin API",
        ),
        (
            Manner::Say("HTTP/1.0 200 OK\r\nServer: nginx\r\n\r\n{\"ready\": true}"),
            "not a Causeway's admin API",
        ),
        (
            Manner::Say("HTTP/1.1 404 Not Found\r\n\r\n404 page not found\n"),
            "not a Causeway's admin API",
        ),
        (
            Manner::Say(
                "HTTP/1.0 404 Not Found\r\nServer: causeway\r\n\r\nnothing is here; there are:\n/metrics\n",
            ),
            "or of another version",
        ),
        (
            Manner::Say(
                "HTTP/1.0 400 Bad Request\r\nServer: causeway\r\n\r\nport must be a number\n",
            ),
            "port must be a number",
        ),
        (
            Manner::Say("HTTP/1.0 400 Bad Request\r\nServer: causeway\r\n\r\n\u{1b}[2Jgone\n"),
            "\u{fffd}[2Jgone",
        ),
        (
            Manner::Say(of("Content-Length: 800\r\n\r\n{\"a\": 1")),
            "stopped in the middle of its answer",
        ),
        (Manner::Say(of("\r\nno json")), "not a Causeway's admin API"),
        (Manner::Hold(""), "did not answer to the end"),
        (
            Manner::Hold(of("Content-Length: 800\r\n\r\n{")),
            "did not answer to the end",
        ),
        (Manner::Drip(of("\r\n{")), "did not answer to the end"),
        (Manner::Reset, "did not answer to the end"),
    ] {
        let said = told(manner);
        assert!(said.contains(expected), "{said}, not {expected}");
    }
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let said = ask(&Admin(vec![nobody()]), "/status", SHORT).expect_err("nobody is there");
    let said = format!("{said:#}");
    assert!(
        said.contains("--admin") && said.contains("refused"),
        "{said}"
    );
}

#[test]
fn an_address_may_be_a_name_or_a_port() {
    let of = |texts: &[&str]| {
        let all = texts.iter().map(|text| text.parse().expect("an address"));
        Ok(Admin(all.collect()))
    };
    assert_eq!(admin("15000"), of(&["127.0.0.1:15000", "[::1]:15000"]));
    assert_eq!(admin("127.0.0.1:7"), of(&["127.0.0.1:7"]));
    assert_eq!(admin("[::1]:9"), of(&["[::1]:9"]));
    let local = admin("localhost:8").expect("a name").0;
    assert_eq!(local.first(), Some(&SocketAddr::from(([127, 0, 0, 1], 8))));
    for wrong in ["127.0.0.1", "127.0.0.1:99999", "", "http://127.0.0.1:1"] {
        assert!(admin(wrong).is_err(), "{wrong}");
    }
}
