//! The same echo under three models of concurrency, side by side: a client of each, and what
//! the model counted. `greenloop demo models` measures all eight.
//!
//! Run `cargo run --example models`.

#![expect(clippy::print_stdout, reason = "an example prints")]
#![expect(clippy::disallowed_methods, reason = "plain threads, plain sockets")]

use greenloop::apps::models::{Model, Settings, Stop};
use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

fn main() -> Result<()> {
    for model in [Model::Thread, Model::Select, Model::Epoll] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stop = Stop::new()?;
        let settings = Settings::new(&stop);
        let server = std::thread::spawn(move || model.serve(listener, &settings));

        let mut client = TcpStream::connect(address)?;
        client.write_all("我爱Python".as_bytes())?;
        client.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;

        stop.ask();
        let served = server.join().expect("it does not panic")?;
        println!("{model}: {answer}, {} client served", served.finished());
    }
    Ok(())
}
