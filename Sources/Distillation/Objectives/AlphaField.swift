import RetortSupport

/// The key that weighs a distillation term. Losses that have it add no cross entropy with the labels: that is a term of its own.
enum AlphaField {
    static func field(_ value: String) -> RecipeField {
        RecipeField("alpha", .number(0...1e9), .defaulted(value), "weight of this term; no cross entropy is added")
    }

    static func value(_ recipe: RecipeNode) -> Float { Float(recipe.required("alpha").number) }
}

extension Float {
    /// For contracts: as few digits as tell it from its neighbours.
    var short: String { NumberFormat.significant(Double(self), digits: 6) }
}
