import Foundation

/// Makes items ahead of their use on a thread of its own: while one batch is trained on, the next are read and decoded. Items come in
/// order, each made once; an error comes where its item would have. The thread ends with the last item, with an error, when `cancel`
/// is called or when the prefetcher goes away; until then at most `depth` items wait.
public final class Prefetcher<Item: Sendable>: Sendable {
    private struct State {
        var waiting: [Result<Item, any Error>] = []
        /// No more items will come.
        var isFinished = false
        var isCancelled = false
        var hasThreadEnded = false
    }

    /// What the thread and the user share. The thread holds this, not the prefetcher, whose end can therefore stop it.
    private final class Shared: Sendable {
        private let changed = NSCondition()
        /// Touched only between `changed.lock()` and `unlock()`.
        private nonisolated(unsafe) var state = State()

        /// Waits until the state gives `body` an answer; what `body` changed is then told to the others who wait.
        func wait<Answer>(for body: (inout State) -> Answer?) -> Answer {
            changed.lock()
            defer { changed.unlock() }
            while true {
                if let answer = body(&state) {
                    changed.broadcast()
                    return answer
                }
                changed.wait()
            }
        }
    }

    private let shared = Shared()

    /// Starts the thread.
    /// - Parameters:
    ///   - depth: how many items wait at most; 2 is double buffering.
    ///   - produce: makes item `index`, from 0; nil when there are no more. Called from one thread, in order.
    public init(depth: Int = 2, produce: @escaping @Sendable (_ index: Int) throws -> Item?) {
        let depth = max(1, depth)
        let thread = Thread { [shared] in
            Self.run(shared, depth, produce)
            shared.wait { $0.hasThreadEnded = true }
        }
        thread.name = "retort prefetch"
        thread.start()
    }

    deinit { cancel() }

    private static func run(_ shared: Shared, _ depth: Int, _ produce: (Int) throws -> Item?) {
        for index in 0... {
            let isWanted = shared.wait { state -> Bool? in
                if state.isCancelled { return false }
                return state.waiting.count < depth ? true : nil
            }
            guard isWanted else { return }
            do {
                guard let item = try produce(index) else {
                    shared.wait { $0.isFinished = true }
                    return
                }
                shared.wait { $0.waiting.append(.success(item)) }
            } catch {
                shared.wait {
                    $0.waiting.append(.failure(error))
                    $0.isFinished = true
                }
                return
            }
        }
    }

    /// The next item, once it is made; nil after the last and after `cancel`.
    /// - Throws: what making it threw; the items before have been given out, and nil follows.
    public func next() throws -> Item? {
        let item = shared.wait { state -> Result<Item, any Error>?? in
            if state.isCancelled { return .some(nil) }
            if !state.waiting.isEmpty { return .some(state.waiting.removeFirst()) }
            return state.isFinished ? .some(nil) : nil
        }
        return try item?.get()
    }

    /// Gives up the items not yet taken and returns when the thread has ended: what it is making is finished first. Not to be called
    /// from `produce`.
    public func cancel() {
        shared.wait { $0.isCancelled = true }
        shared.wait { state -> Void? in state.hasThreadEnded ? () : nil }
        shared.wait { $0.waiting = [] }
    }
}
