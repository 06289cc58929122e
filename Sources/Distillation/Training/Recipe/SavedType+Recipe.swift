import RetortModels

/// `student.save-dtype`: what the weights in `final/` are. Teachers that a run trains stay f32, for a run that goes on reads them again.
extension SavedType {
    static let field = RecipeField(
        "save-dtype", .choice(allCases.map(\.rawValue)), .optional,
        "what the trained student's weights are rounded to, before it is measured and saved (default: f32); checkpoints stay f32"
    )

    /// What the section of a student says; f32 where it says nothing.
    init(student: RecipeNode) {
        self = student["save-dtype"].flatMap { SavedType(rawValue: $0.text) } ?? .f32
    }
}
