/// The part of a teacher's array that its student begins with.
struct WeightCut {
    /// Of each dimension: how long it is, and the runs of it that are kept.
    private let axes: [(size: Int, runs: [Range<Int>])]

    /// - Parameters:
    ///   - name: of the parameter, which tells what its rows and columns are.
    ///   - teacher: its shape there.
    ///   - student: its shape here, smaller or equal in each dimension.
    init(_ name: String, from teacher: [Int], to student: [Int], _ sharing: StudentWidths.Sharing) {
        axes = teacher.indices.map { axis in
            let groups = Self.groups(name, axis: axis, rank: teacher.count, sharing)
            return (
                teacher[axis],
                Self.runs(teacher[axis] / groups.teacher, student[axis] / groups.student, groups.student)
            )
        }
    }

    /// A dimension may be several parts side by side, each of which is cut for itself: GPT-2 has queries, keys and values in one matrix, and
    /// queries stand together that share their keys.
    private static func groups(
        _ name: String, axis: Int, rank: Int, _ sharing: StudentWidths.Sharing
    ) -> StudentWidths.Sharing {
        if name.contains(".attn.c_attn."), axis == rank - 1 { return .init(teacher: 3, student: 3) }
        let isOfQueries =
            name.contains(".self_attn.q_proj.") && axis == 0
            || name.hasSuffix(".self_attn.o_proj.weight") && axis == 1
        return isOfQueries ? sharing : .init(teacher: 1, student: 1)
    }

    private static func runs(_ whole: Int, _ kept: Int, _ groups: Int) -> [Range<Int>] {
        whole == kept ? [0..<(groups * kept)] : (0..<groups).map { ($0 * whole)..<($0 * whole + kept) }
    }

    /// - Parameter values: the teacher's array, in row-major order.
    func callAsFunction(_ values: [Float]) -> [Float] {
        var kept: [Float] = []
        kept.reserveCapacity(axes.reduce(1) { $0 * $1.runs.reduce(0) { $0 + $1.count } })
        append(values[...], axes[...], to: &kept)
        return kept
    }

    private func append(
        _ values: ArraySlice<Float>, _ axes: ArraySlice<(size: Int, runs: [Range<Int>])>, to kept: inout [Float]
    ) {
        guard let axis = axes.first else { return kept.append(contentsOf: values) }
        let block = values.count / axis.size
        for run in axis.runs {
            let start = values.startIndex
            if axes.count == 1 {
                kept.append(contentsOf: values[(start + run.lowerBound)..<(start + run.upperBound)])
            } else {
                for row in run {
                    append(values[(start + row * block)..<(start + (row + 1) * block)], axes.dropFirst(), to: &kept)
                }
            }
        }
    }
}
