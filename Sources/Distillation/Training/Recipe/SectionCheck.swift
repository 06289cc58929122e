import RetortSupport

extension RecipeNode {
    /// What keys of one section say together, wherever the section stands: optimizers and schedules stand in many.
    /// - Throws: `RetortError` 78 with the place.
    func checkSections() throws {
        switch value {
        case .list(let items): for item in items { try item.checkSections() }
        case .section(let fields):
            try checkMomentum()
            try checkMilestones()
            for field in fields { try field.value.checkSections() }
        case .text, .flag, .integer, .number: break
        }
    }

    private func checkMomentum() throws {
        guard case .flag(true)? = self["nesterov"]?.value, case .number(0)? = self["momentum"]?.value else { return }
        throw RetortError.recipe(
            "nesterov looks ahead along the momentum, and there is none", at: self["nesterov"]?.location,
            help: "give the optimizer a momentum, such as 0.9, or remove nesterov")
    }

    private func checkMilestones() throws {
        guard case .list(let items)? = self["milestones"]?.value else { return }
        var last = 0
        for item in items {
            guard case .integer(let epoch) = item.value else { return }
            guard epoch > last else {
                throw RetortError.recipe(
                    "the milestone \(epoch) does not come after \(last)", at: item.location,
                    help: "write them in ascending order, each once")
            }
            last = epoch
        }
    }
}
