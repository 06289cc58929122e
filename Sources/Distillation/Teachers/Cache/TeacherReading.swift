import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Asks a live teacher what a cache keeps.
struct TeacherReading {
    let model: any LanguageModel
    /// Rows of its head that are looked at, the first ones.
    let vocabulary: Int
    let kept: KeptClasses
    var signals = KeptSignals.none
    let device: Device

    /// What is kept of each text of a batch of whole examples, one a row.
    /// - Throws: `RetortError` 65 for a prediction that is not finite.
    func records(_ batch: LanguageBatch) throws -> [CacheRecord] {
        try Autograd.withoutGradients {
            let read = try model.hidden(TokenBatch(batch), capturing: signals.paths)
            let vectors = try signals.read(read.signals, on: device)
            let head = try model.head().narrowed(to: vocabulary)
            let places = batch.targets.indices.filter { batch.targets[$0] >= 0 }
            let hidden = try read.last.reshaped([batch.tokens.count, head.hidden]).gatherRows(
                places.map(Int32.init), shape: [places.count])
            let rows = try rows(HeadLogits(hidden, head))
            let byPlace = Dictionary(uniqueKeysWithValues: zip(places, rows))
            return batch.texts.map { text in
                CacheRecord(
                    length: text.tokens.count, places: text.learned,
                    rows: text.learned.compactMap { byPlace[text.range.lowerBound + $0] },
                    states: zip(signals.signals, vectors).flatMap { signal, bytes in
                        let size = signal.columns * signals.dtype.size
                        return bytes[(text.range.lowerBound * size)..<(text.range.upperBound * size)]
                    })
            }
        }
    }

    /// Never more logits than fit in 64 MiB, and once more as many.
    func rows(_ logits: HeadLogits) throws -> [KeptRow] {
        let classes = logits.classes
        let k = min(kept.most, classes)
        let most = max(1, min(logits.rows, (16 << 20) / classes))
        let compute = device.compute
        let (space, scaled) = (try compute.empty([most, classes]), try compute.empty([most, classes]))
        var rows: [KeptRow] = []
        for start in stride(from: 0, to: logits.rows, by: most) {
            let count = min(most, logits.rows - start)
            let z = try logits.logits(start..<(start + count), in: space.slice(0..<count))
            let (values, indices) = (try compute.empty([count, k]), try compute.empty([count, k], .i32))
            try run(TopK(), .init(x: z, values: values, indices: indices), on: compute)
            var sums: [[Float]] = []
            if k < classes {
                // What is kept is taken out of the sums over the rest.
                let nothing = try compute.empty([count, k])
                try run(Fill(-.infinity), .init(y: nothing), on: compute)
                try run(ScatterColumns(), .init(dy: nothing, indices: indices, dx: .accumulate(z)), on: compute)
                for rate in RestMass.rates {
                    let part = scaled.slice(0..<count)
                    let sum = try compute.empty([count])
                    try run(Scale(Float(rate)), .init(x: z, y: .write(part)), on: compute)
                    try run(Reduce(.logSumExp), .init(x: part, axis: 1, y: .write(sum)), on: compute)
                    sums.append(try compute.read(sum))
                }
            }
            let (top, ids) = (try compute.read(values, as: Float.self), try compute.read(indices, as: Int32.self))
            for r in 0..<count {
                rows.append(
                    try row(
                        ids: Array(ids[r * k..<(r + 1) * k]), logits: top[r * k..<(r + 1) * k].map(Double.init),
                        rest: sums.map { Double($0[r]) }, classes: classes))
            }
        }
        return rows
    }

    /// - Parameters:
    ///   - ids: the likeliest, in order.
    ///   - rest: ln Σ e^(β logit) over the others at `RestMass.rates`; empty where there are none.
    private func row(ids: [Int32], logits: [Double], rest: [Double], classes: Int) throws -> KeptRow {
        guard logits.allSatisfy(\.isFinite), rest.allSatisfy({ $0 < .infinity }) else {
            throw RetortError.badData(
                "the teacher's predictions are not finite", why: "a logit is \(logits.first { !$0.isFinite } ?? .nan)",
                help: "Check the model with `retort eval`.")
        }
        let depths = logits.map { logits[0] - $0 }
        var sums = zip(rest, RestMass.rates).map { $0 - $1 * logits[0] }
        let count = kept(depths, sums.isEmpty ? -.infinity : sums[1])
        let dropped = depths[count...]
        if !dropped.isEmpty {
            sums = RestMass.rates.enumerated().map { index, rate in
                let largest = max(sums.isEmpty ? -.infinity : sums[index], -rate * dropped[dropped.startIndex])
                let old = sums.isEmpty ? 0 : exp(sums[index] - largest)
                return largest + log(dropped.reduce(old) { $0 + exp(-rate * $1 - largest) })
            }
        }
        let order = (0..<count).sorted { ids[$0] < ids[$1] }
        return KeptRow(
            ids: order.map { ids[$0] }, depths: order.map { depths[$0] },
            rest: count < classes ? RestMass(logSums: sums.map { max($0, -80) }, classes: classes - count) : nil)
    }

    /// How many of the likeliest stay.
    private func kept(_ depths: [Double], _ rest: Double) -> Int {
        guard case .mass(let share, _) = kept else { return depths.count }
        let total = depths.reduce(exp(rest)) { $0 + exp(-$1) }
        var sum = 0.0
        for (number, depth) in depths.enumerated() {
            sum += exp(-depth)
            if sum >= share * total { return number + 1 }
        }
        return depths.count
    }
}
