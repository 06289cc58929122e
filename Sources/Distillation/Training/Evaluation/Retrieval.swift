import RetortKernels
import RetortModels
import RetortRuntime

extension Trainer {
    /// Recall at 1 across modalities: the share of rows whose embedding, as the arm's loss makes it, is nearer by cosine to the teacher's of the
    /// same row than to that of any other row. nil where no loss has embeddings of both.
    public func retrieval(_ data: DeviceRows) throws -> Double? {
        model.setTraining(false)
        projectors.setTraining(false)
        var sides: (student: [Tensor], teacher: [Tensor]) = ([], [])
        let part = 1024
        for start in stride(from: 0, to: data.rows, by: part) {
            let ids = (start..<min(data.rows, start + part)).map(Int32.init)
            let (x, labels) = try data.batch(ids, on: device)
            guard let pair = try embeddings(x, labels: labels) else { return nil }
            sides.student.append(pair.student)
            sides.teacher.append(pair.teacher)
        }
        guard data.rows > 0 else { return nil }
        return try Autograd.withoutGradients {
            let gallery = try Tensor.concatenated(sides.teacher, axis: 0).transposed(0, 1)
            var hits = 0
            var first = 0
            for student in sides.student {
                let nearest = try device.compute.read(student.matmul(gallery).argmax(-1), as: Int32.self)
                hits += nearest.enumerated().count { Int($0.element) == first + $0.offset }
                first += student.shape[0]
            }
            return Double(hits) / Double(data.rows)
        }
    }
}
