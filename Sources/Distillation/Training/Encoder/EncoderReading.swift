import RetortModels
import RetortRuntime
import RetortSupport

extension EncoderRun {
    /// The texts of a run, and how its models read them.
    struct Reading {
        let data: any EncoderData
        /// nil where nobody teaches.
        let teacher: Reader?
        let student: Reader

        /// - Throws: `RetortError` for the data or a model (65, 66), and the recipe (78).
        init(_ recipe: EncoderRecipe) throws {
            let data = try recipe.task.load()
            self.data = data
            for arm in recipe.arms {
                try data.check(
                    arm, hasTeacher: recipe.teacher != nil, at: recipe.node.required("arms").required(arm.name).location
                )
            }
            // A model that has no tokenizer of its own reads by the other's.
            let student = recipe.student
            func reader(_ spec: EncoderSpec, else other: EncoderSpec?, _ before: Reader?) throws -> Reader {
                let folder = try spec.tokenizer(else: other)
                let settings = try spec.settings(else: before?.settings)
                let tokenizer = try Tokenizer.load(folder)
                let model = try spec.plan(head: data.head, tokenizer: tokenizer)
                let length = min(settings.length ?? tokenizer.truncation?.length ?? .max, model.maxPositions)
                // Who reads as another does has the same tokens.
                let isSame = before?.folder == folder && before?.length == length
                let known = isSame ? before?.encodings : nil
                return Reader(
                    folder: folder, tokenizer: tokenizer, settings: settings, length: length,
                    encodings: try known ?? data.texts.encoded(tokenizer, length: length))
            }
            let teacher = try recipe.teacher.map { try reader($0.spec, else: student, nil) }
            let own = try reader(student, else: recipe.teacher?.spec, teacher)
            for arm in recipe.arms {
                guard let inner = arm.inner else { continue }
                guard let teacher, teacher.encodings == own.encodings else {
                    throw RetortError.recipe(
                        "the arm \(arm.name) compares the models token by token, and they read different tokens",
                        at: inner.location,
                        why: "teacher: \(teacher?.folder ?? "none"); student: \(own.folder)",
                        help: "give both the same tokenizer and max-length")
                }
                guard arm.train.microBatch == nil else {
                    throw RetortError.recipe(
                        "the arm \(arm.name) compares the models token by token, which does not go in micro-batches",
                        at: inner.location, help: "give it a smaller batch")
                }
            }
            (self.teacher, self.student) = (teacher, own)
        }

        /// What a teacher could say of all texts, where it is not asked.
        func stand(in teacher: AnsweringEncoder, width: Int, on device: Device) throws -> TeacherAnswers {
            let values = [Float](repeating: 0.5, count: data.texts.count * width)
            let inner = [Float](repeating: 0.5, count: data.texts.count * teacher.embeddingWidth)
            return try TeacherAnswers(
                values, width: width, embeddings: data.head == .none ? nil : (inner, teacher.embeddingWidth), on: device
            )
        }
    }
}
