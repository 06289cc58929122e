import Glibc
@testable import RetortSupport
import Synchronization
import Testing

@Suite struct TerminalTests {
    @Test func rules() {
        func terminal(_ isTerminal: Bool, width: Int? = nil, _ environment: [String: String]) -> Terminal {
            Terminal(isTerminal: isTerminal, windowWidth: width) { environment[$0] }
        }
        let plain = terminal(true, ["TERM": "xterm"])
        #expect(plain.isInteractive && plain.hasColor && plain.width == 80)
        #expect(!terminal(false, ["TERM": "xterm"]).isInteractive)
        #expect(!terminal(true, ["TERM": "dumb"]).isInteractive)
        #expect(!terminal(true, ["CI": "true"]).isInteractive)
        #expect(terminal(true, ["CI": "false"]).isInteractive)
        let noColor = terminal(true, ["NO_COLOR": "1"])
        #expect(noColor.isInteractive && !noColor.hasColor)
        #expect(terminal(true, ["NO_COLOR": ""]).hasColor)
        #expect(terminal(true, width: 132, ["COLUMNS": "40"]).width == 132)
        #expect(terminal(true, width: 0, ["COLUMNS": "40"]).width == 40)
        #expect(terminal(true, ["COLUMNS": "-1"]).width == 80)
    }
}

/// A pipe whose reading end collects what was written.
private final class Pipe {
    let reader: Int32
    let writer: Int32

    init() {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        (reader, writer) = (ends[0], ends[1])
    }

    deinit {
        close(reader)
        close(writer)
    }

    /// What was written since the last call (at most 64 KiB, the pipe's capacity).
    func read() -> String {
        _ = fcntl(reader, F_SETFL, O_NONBLOCK)
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = Glibc.read(reader, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
    }
}

@Suite struct ProgressTests {
    private final class Clock: Sendable {
        let instant = Mutex(ContinuousClock.now)
        func advance(milliseconds: Int) { instant.withLock { $0 = $0.advanced(by: .milliseconds(milliseconds)) } }
    }

    private func progress(_ pipe: Pipe, interactive: Bool, quiet: Bool = false, clock: Clock = Clock()) -> Progress {
        let environment = ["COLUMNS": "10"]
        return Progress(
            output: TextOutput(descriptor: pipe.writer, name: "pipe"),
            terminal: Terminal(isTerminal: interactive, windowWidth: nil) { environment[$0] }, quiet: quiet,
            now: { clock.instant.withLock { $0 } })
    }

    @Test func redrawsAtMostTenTimesASecond() {
        let pipe = Pipe()
        let clock = Clock()
        let progress = progress(pipe, interactive: true, clock: clock)
        for step in 0..<20 {
            progress.status("step \(step)")
            clock.advance(milliseconds: 25)
        }
        let clear = "\r\u{1B}[K"
        #expect(pipe.read() == [0, 4, 8, 12, 16].map { clear + "step \($0)" }.joined())
        progress.line("saved")
        #expect(pipe.read() == clear + "saved\nstep 16")
        clock.advance(milliseconds: 100)
        progress.status("0123456789abc")
        #expect(pipe.read() == clear + "012345678")
        progress.finish()
        progress.finish()
        #expect(pipe.read() == clear)
        progress.line("end")
        #expect(pipe.read() == "end\n")
        progress.status("step 21")
        progress.end("done")
        #expect(pipe.read() == clear + "step 21" + clear + "done\n")
        progress.status("step 1")
        #expect(pipe.read() == clear + "step 1", "the next line need not wait")
    }

    @Test func plainElsewhere() {
        let pipe = Pipe()
        let progress = progress(pipe, interactive: false)
        progress.status("step 1")
        progress.line("epoch 1")
        progress.status("step 2")
        progress.finish()
        #expect(pipe.read() == "epoch 1\n")
    }

    @Test func quietIsSilent() {
        let pipe = Pipe()
        let progress = progress(pipe, interactive: true, quiet: true)
        progress.status("step 1")
        progress.line("epoch 1")
        progress.finish()
        #expect(pipe.read() == "")
    }
}

@Suite struct TextOutputTests {
    @Test func aClosedPipeIsQuietAndTheRunGoesOn() async {
        await #expect(processExitsWith: .exitCode(7)) {
            StopSignal.ignoreBrokenPipe()
            var ends: [Int32] = [0, 0]
            guard pipe(&ends) == 0 else { exit(1) }
            close(ends[0])
            let output = TextOutput(descriptor: ends[1], name: "pipe")
            for _ in 0..<1000 { output.writeLine("nobody reads this") }
            try output.check()
            guard output.isClosed else { exit(2) }
            exit(7)
        }
    }

    /// Shows that the test above can fail: without ignoring SIGPIPE the process dies.
    @Test func aClosedPipeKillsWithoutTheProtection() async {
        await #expect(processExitsWith: .signal(SIGPIPE)) {
            signal(SIGPIPE, SIG_DFL)
            var ends: [Int32] = [0, 0]
            guard pipe(&ends) == 0 else { exit(1) }
            close(ends[0])
            TextOutput(descriptor: ends[1], name: "pipe").writeLine("x")
        }
    }

    @Test func aFullDiskIsReportedAtTheEnd() throws {
        let descriptor = open("/dev/full", O_WRONLY)
        defer { close(descriptor) }
        let output = TextOutput(descriptor: descriptor, name: "standard output")
        try output.check()
        output.writeLine("x")
        output.writeLine("y")
        let failure = error { try output.check() }
        #expect(failure?.exit == .io)
        #expect(failure?.description == "error: cannot write to standard output\n  the disk is full")
        #expect(!output.isClosed)
    }

    @Test func waitsForANonBlockingPipe() async {
        let counter = Counter()
        var calls = FileCalls.real
        calls.write = { descriptor, bytes in
            counter.increment()
            return counter.value == 1 ? -Int(EAGAIN) : FileCalls.real.write(descriptor, bytes)
        }
        let pipe = Pipe()
        TextOutput(descriptor: pipe.writer, name: "pipe", calls: calls).write("late")
        #expect(pipe.read() == "late")
    }
}

/// Sends a signal to this process and waits until the flag is set. Not `raise`: tests run on a worker thread, and those
/// block signals.
private func sendAndWait(_ signal: Int32) {
    kill(getpid(), signal)
    for _ in 0..<1000 where !StopSignal.isRequested { usleep(10_000) }
}

@Suite struct StopSignalTests {
    @Test func theFirstOnlySetsTheFlag() async {
        await #expect(processExitsWith: .exitCode(75)) {
            StopSignal.install()
            guard !StopSignal.isRequested, StopSignal.name == nil else { exit(1) }
            sendAndWait(SIGTERM)
            exit(StopSignal.name == "SIGTERM" ? 75 : 2)
        }
    }

    @Test func theSecondEndsTheProcess() async {
        await #expect(processExitsWith: .exitCode(130)) {
            StopSignal.install()
            sendAndWait(SIGTERM)
            kill(getpid(), SIGINT)
            sleep(10)
            exit(1)
        }
        await #expect(processExitsWith: .exitCode(143)) {
            StopSignal.install()
            sendAndWait(SIGTERM)
            kill(getpid(), SIGTERM)
            sleep(10)
            exit(1)
        }
    }
}

@Suite("Sizes as people write them")
struct ByteCountTests {
    @Test("digits with or without a binary unit, and nothing else")
    func parse() {
        for (text, bytes) in [
            ("0", 0), ("4096", 4096), ("512MiB", 512 << 20), ("2GiB", 2 << 30), ("1.5 KiB", 1536), ("3TiB", 3 << 40),
            (".5KiB", 512),
        ] { #expect(ByteCount.parse(text) == bytes, "\(text)") }
        for text in [
            "", "GiB", "-1", "+1", "1e3", "1e3KiB", "2GB", "2 gib", "0x10", "1.5", "1  KiB", "99999999999999999999",
            "9000000000TiB", "٣KiB", "nan", "infKiB",
        ] { #expect(ByteCount.parse(text) == nil, "\(text)") }
    }
}
