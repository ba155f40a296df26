//! The program: parse arguments, call [`tenantry::app`], exit code.

fn main() -> std::process::ExitCode {
    tenantry::app::main()
}
