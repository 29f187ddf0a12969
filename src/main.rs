//! The `esxprep` binary: parse, call, exit code.

fn main() -> std::process::ExitCode {
    esxprep::cli::main()
}
