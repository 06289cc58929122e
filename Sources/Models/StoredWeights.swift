import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// The arrays of a module in a checkpoint: each parameter and buffer must be there and of its shape, and nothing else may be. All is looked
/// at before anything is allocated.
struct StoredWeights {
    private let files: CheckpointFiles
    private let entries: [(name: String, stored: String, assign: Assignment)]

    /// Fills an array of the module with what is read, piece by piece.
    private typealias Assignment = (_ read: ComputeDevice.PieceReader) throws -> Void
    /// Whether there are arrays that are not read.
    let leavesSome: Bool

    /// - Parameters:
    ///   - storedNames: what checkpoints call an array, the usual name first.
    ///   - passesOver: stored arrays that belong to no parameter and may be there. PyTorch's `num_batches_tracked` counters always may:
    ///     nothing here depends on them.
    ///   - ties: of those that are passed over, the ones that are a parameter once more. Where the files hold both, they are compared: who
    ///     reads such files takes the one or the other.
    ///   - begins: whether an array keeps the value that it begins with instead of being read, by its name and whether the files have it.
    /// - Throws: `RetortError` 65 for files that do not fit.
    init(
        of module: any Module, in files: CheckpointFiles, storedNames: (String) -> [String] = { [$0] },
        passesOver: (String) -> Bool = { _ in false }, ties: [TiedArray] = [],
        begins: (_ name: String, _ isStored: Bool) -> Bool = { _, _ in false }
    ) throws {
        self.files = files
        let arrays: [(name: String, shape: [Int], assign: Assignment)] =
            module.parameters.map { p in (p.name, Array(p.shape), { try p.assign(pieces: $0) }) }
            + module.buffers.map { b in (b.name, Array(b.shape), { try b.assign(pieces: $0) }) }
        entries = try arrays.compactMap { array in
            let held = storedNames(array.name).first(where: files.holds)
            if begins(array.name, held != nil) { return nil }
            let name = held ?? array.name
            let stored = try files.tensor(name)
            guard stored.shape == array.shape else {
                throw RetortError.badData(
                    "\(name) has shape \(stored.shape) in the file, \(array.shape) in config.json",
                    at: .init(file: files.path(of: name)))
            }
            return (array.name, name, array.assign)
        }
        leavesSome = entries.count < arrays.count
        let known = Set(entries.map(\.stored))
        let extra = files.names.first {
            !known.contains($0) && !$0.hasSuffix(".num_batches_tracked") && !passesOver($0)
        }
        if let extra {
            throw RetortError.badData(
                "\(extra.quoted(limit: 200)) belongs to no parameter of the model in config.json",
                at: .init(file: files.path(of: extra)))
        }
        for tie in ties { try check(tie) }
    }

    private func check(_ tie: TiedArray) throws {
        guard files.holds(tie.stored), let entry = entries.first(where: { $0.name == tie.parameter }),
            entry.stored != tie.stored, try !files.areEqual(tie.stored, entry.stored)
        else { return }
        throw RetortError.badData(
            "\(tie.stored) differs from \(tie.role), \(entry.stored), and config.json ties them",
            at: .init(file: files.path(of: tie.stored)),
            help: tie.canBeUntied
                ? "set tie_word_embeddings to false in config.json: each is read then"
                : "this program knows such models with \(tie.role) alone; leave \(tie.stored) out where that is meant")
    }

    /// Fills the module, which is on its device.
    /// - Throws: `RetortError` 65 when a number is not finite.
    func assign() throws {
        for entry in entries {
            try entry.assign { [files, stored = entry.stored] in try files.finiteFloats(stored, from: $0, into: $1) }
        }
    }

    /// Whether an array of the module is in the files.
    func holds(_ name: String) -> Bool { entries.contains { $0.name == name } }

    /// The values of one of the module's arrays that is in the files.
    /// - Throws: `RetortError` 65 when a number is not finite.
    func floats(_ name: String) throws -> [Float] {
        guard let entry = entries.first(where: { $0.name == name }) else {
            throw RetortError.internalBug("\(name) is asked for and not in the files")
        }
        return try files.finiteFloats(entry.stored)
    }
}
